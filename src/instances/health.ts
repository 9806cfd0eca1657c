import { isBerthError, messageOf } from "../base/errors.ts";
import type { HealthProbe, InstanceRecord } from "../schema/instance.ts";
import { nextProbeDelay, type ProbePlan, probePlan, withProbe } from "./health-state.ts";
import type { Run } from "./live-instances.ts";
import type { Parts } from "./parts.ts";
import { endUnhealthy } from "./unhealthy.ts";

/** Bytes of a probe's output that are kept, as in Docker. */
const maxOutput = 4096;

/** Probes the present run of an instance, if it has a health check, until that run ends or the engine closes. */
export function watchHealth(parts: Parts, id: string): void {
  const record = parts.records.get(id);
  const { run } = parts.lives.of(id);
  const plan = record === undefined ? undefined : probePlan(record.spec);
  if (plan === undefined || run === undefined) return;
  const until = AbortSignal.any([run.ended.signal, parts.background.closing]);
  parts.background.watch(`health of ${id}`, probeUntil(parts, id, plan, run, until), () => {});
}

async function probeUntil(parts: Parts, id: string, plan: ProbePlan, run: Run, until: AbortSignal): Promise<void> {
  while (!until.aborted) {
    const health = parts.records.get(id)?.state.health;
    if (health === undefined || health === null) return;
    const delay = nextProbeDelay(plan, health, parts.clock.now() - run.startedAtMs);
    try {
      await parts.clock.sleep(delay, until);
    } catch {
      return;
    }
    const record = parts.records.get(id);
    if (record?.state.status !== "running") continue;
    const startMs = parts.clock.now();
    const probe = await runProbe(parts, record, plan, until);
    if (until.aborted || probe === undefined) continue;
    takeProbe(parts, id, plan, probe, startMs - run.startedAtMs);
    await endUnhealthy(parts, id, run, until);
  }
}

function takeProbe(parts: Parts, id: string, plan: ProbePlan, probe: HealthProbe, sinceStartMs: number): void {
  const before = parts.records.get(id)?.state.health;
  if (before === undefined || before === null) return;
  const health = withProbe(plan, before, probe, sinceStartMs);
  const record = parts.records.setState(id, { health }, { durable: false });
  if (health.status !== before.status) parts.publish(record, `health_status: ${health.status}`);
}

/** Undefined when it was paused or ended under the probe, which then says nothing of its health. */
async function runProbe(
  parts: Parts,
  record: InstanceRecord,
  plan: ProbePlan,
  until: AbortSignal,
): Promise<HealthProbe | undefined> {
  const start = new Date(parts.clock.now()).toISOString();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), plan.timeoutMs);
  timer.unref();
  const ended = (exitCode: number, output: string): HealthProbe => ({
    start,
    end: new Date(parts.clock.now()).toISOString(),
    exitCode,
    output,
  });
  try {
    const { exitCode, output } = await parts.execs.capture(record.id, probeCommand(parts, record), {
      maxBytes: maxOutput,
      signal: AbortSignal.any([timeout.signal, until]),
    });
    if (!timeout.signal.aborted) return ended(exitCode, output);
    const limit = `Health check exceeded timeout (${durationText(plan.timeoutMs)})`;
    return ended(-1, output === "" ? limit : `${limit}: ${output}`);
  } catch (error) {
    const gone = isBerthError(error, "EXEC_PAUSED", "NOT_RUNNING", "TASK_NOT_RUNNING", "INSTANCE_NOT_FOUND");
    return gone ? undefined : ended(-1, messageOf(error));
  } finally {
    clearTimeout(timer);
  }
}

function probeCommand(parts: Parts, record: InstanceRecord) {
  const [kind, ...words] = record.spec.healthcheck?.Test ?? [];
  return {
    argv: kind === "CMD-SHELL" ? [...shellOf(parts, record), ...words] : words,
    env: [],
    user: "",
    workingDir: "",
    tty: false,
    attachStdin: false,
    attachStdout: true,
    attachStderr: true,
    privileged: false,
    detachKeys: "",
  };
}

/** The image's SHELL, if the image is still there and has one. */
function shellOf(parts: Parts, record: InstanceRecord): readonly string[] {
  const image = parts.images.list({ intermediate: true }).find(({ id }) => id === record.imageId);
  const shell = image?.config.config?.Shell ?? [];
  return shell.length > 0 ? shell : ["/bin/sh", "-c"];
}

/** As Go prints durations: "30s", "1.5s", "200ms", "1m0s". */
function durationText(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = (ms % 60_000) / 1000;
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds}s`;
}
