import { isBerthError, messageOf } from "../base/errors.ts";
import { type OpContext, withLog } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { makeSmallDirectory, rm } from "../host/files.ts";
import type { DriverHandle, InstanceRecord, InstanceSpec, InstanceState } from "../schema/instance.ts";
import type { EndpointRecord, PublishedPort } from "../schema/network.ts";
import type { Driver, PrepareRequest, TaskExit, TaskIo } from "./driver.ts";
import { driverErrors } from "./driver-errors.ts";
import { endRestingGuest, startPatienceMs } from "./files/resting-guests.ts";
import { mergeEnvironment } from "./environment.ts";
import { initialHealth } from "./health-state.ts";
import type { Run } from "./live-instances.ts";
import { withLinkEnvironment } from "./link-environment.ts";
import { resolveMounts } from "./mounts.ts";
import { joinedNetwork, type NetworkPlace, resolveNamespaces, sharedMemoryMount } from "./namespaces.ts";
import { cgroupParent, dataDir, driverOf, isThrowAway, logPath, type Parts, runDir } from "./parts.ts";
import { portsToPublish } from "./ports.ts";
import { joinedInstance } from "./validate/namespaces.ts";

export type OnExit = (run: Run, exit: TaskExit) => Promise<void>;

/**
 * Starts a stopped instance, whose lock is held: root and network side by side, then the driver's preparation; its handle
 * on disk; waiting clients connected; and only then the first instruction. All of it, or nothing.
 */
export async function launch(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  state: Partial<InstanceState>,
  onExit: OnExit,
): Promise<InstanceRecord> {
  const { id, spec } = record;
  const driver = driverOf(parts, spec);
  await endRestingGuest(parts, id, startPatienceMs);
  driver.expectStart();
  await using reverter = new Reverter(ctx);
  const dir = runDir(parts, id);
  await makeSmallDirectory(dir, 0o700);
  reverter.add("remove the run directory", () => rm(dir, { recursive: true, force: true }));

  const { rootfs, network } = await mountAndConnect(parts, ctx, record, reverter);
  const request = await prepareRequest(parts, ctx, record, { dir, rootfs, network }, reverter);
  const { handle, pid } = await driver.prepare(ctx, request);
  reverter.add("destroy what the driver prepared", async (ctx) => {
    await driver.destroy(ctx, handle);
    parts.records.setState(id, { handle: null, pid: 0 }, { durable: false });
  });
  parts.records.setState(id, { handle, pid }, { durable: false });
  // A power cut takes what runs along: the disk is waited for beside the start, and before it is acknowledged.
  const recorded = isThrowAway(spec) ? Promise.resolve() : parts.store.flush();
  recorded.catch(() => {});

  await connectWaitingSessions(parts, ctx, driver, id, handle);
  const startedAtMs = parts.clock.now();
  await driver.start(ctx, handle);
  await recorded;
  const started = parts.records.setState(
    id,
    {
      status: "running",
      startedAt: new Date(startedAtMs).toISOString(),
      exitCode: 0,
      oomKilled: false,
      error: "",
      health: initialHealth(spec),
      endpoints: [...network.endpoints],
      ports: [...network.ports],
      ...state,
    },
    { durable: false },
  );
  // Not before: what runs and can't be recorded (the disk is full) would be nobody's.
  reverter.commit();
  parts.publish(started, "start");
  followRun(parts, started, handle, startedAtMs, onExit);
  return started;
}

/** Watches a run to its end, and does what goes along with it: for one just started, and for one that recovery found. */
export function followRun(
  parts: Parts,
  record: InstanceRecord,
  handle: DriverHandle,
  startedAtMs: number,
  onExit: OnExit,
): void {
  const { id } = record;
  const run: Run = { startedAtMs, ended: new AbortController() };
  parts.lives.of(id).run = run;
  parts.rotation.follow(record, run.ended.signal);
  const ctx = withLog({ signal: parts.background.closing, log: parts.log }, { instance: id });
  const driver = driverOf(parts, record.spec);
  // A closing engine leaves the end to the next one: what it began now could be cut off half way.
  const ended = (exit: TaskExit) =>
    parts.background.closing.aborted ? undefined : parts.background.run(`end of ${id}`, () => onExit(run, exit));
  driver.wait(ctx, handle).then(
    (exit) => ended(exit),
    (error: unknown) => {
      if (!parts.background.closing.aborted) {
        ctx.log.error({ error: messageOf(error) }, "lost sight of the instance: it counts as ended");
      }
      return ended(lostExit(parts));
    },
  );
}

/** What is recorded for an instance of whose end nothing is known, as Docker does after a crash of the machine. */
export function lostExit(parts: Pick<Parts, "clock">): TaskExit {
  return { exitCode: 255, oomKilled: false, finishedAt: new Date(parts.clock.now()).toISOString() };
}

interface StartNetwork extends NetworkPlace {
  readonly endpoints: readonly EndpointRecord[];
  readonly ports: readonly PublishedPort[];
}

async function mountAndConnect(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  reverter: Reverter,
): Promise<{ readonly rootfs: string; readonly network: StartNetwork }> {
  const mounting = mountRoot(parts, ctx, record, reverter);
  const connecting = setUpNetwork(parts, ctx, record, reverter);
  // Both have ended, and registered how to undo them, before either's failure is acted upon.
  await Promise.allSettled([mounting, connecting]);
  return { rootfs: await mounting, network: await connecting };
}

async function mountRoot(parts: Parts, ctx: OpContext, record: InstanceRecord, reverter: Reverter): Promise<string> {
  if (driverOf(parts, record.spec).inside !== undefined) return "";
  const rootfs = await parts.rootMounts.hold(ctx, record.id, { volatile: isThrowAway(record.spec) });
  reverter.add("unmount the root", (ctx) => parts.rootMounts.release(ctx, record.id));
  return rootfs;
}

async function setUpNetwork(
  parts: Parts,
  ctx: OpContext,
  { id, name, spec }: InstanceRecord,
  reverter: Reverter,
): Promise<StartNetwork> {
  const { network } = spec;
  if (joinedInstance(network.mode) !== undefined) {
    return { ...joinedNetwork(parts, network.mode), endpoints: [], ports: [] };
  }
  const mode = network.mode === "none" || network.mode === "host" ? network.mode : "bridge";
  const sandbox = await parts.networks.setUp(ctx, {
    instanceId: id,
    instanceName: name,
    mode,
    hostname: spec.hostname,
    domainname: spec.domainname,
    endpoints: network.endpoints,
    ports: mode === "bridge" ? portsToPublish(spec.network) : [],
    dns: network.dns.length > 0 ? network.dns : parts.config.dns,
    dnsSearch: network.dnsSearch.length > 0 ? network.dnsSearch : parts.config.dnsSearch,
    dnsOptions: network.dnsOptions,
    extraHosts: network.extraHosts,
    dhcp: spec.machine !== undefined,
    sysctls: Object.fromEntries(Object.entries(spec.sysctls).filter(([key]) => key.startsWith("net."))),
    // An operating system asks for its addresses.
    ...(spec.machine === undefined ? {} : { dhcp: true }),
  });
  reverter.add("tear down the network", (ctx) => parts.networks.tearDown(ctx, id));
  return {
    namespace: mode === "host" ? "host" : sandbox.netnsPath,
    files: sandbox,
    endpoints: sandbox.endpoints,
    ports: sandbox.ports,
  };
}

async function prepareRequest(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  at: { readonly dir: string; readonly rootfs: string; readonly network: StartNetwork },
  reverter: Reverter,
): Promise<PrepareRequest> {
  const { id, spec } = record;
  const sharedMemory = await sharedMemoryMount(parts, ctx, record, reverter);
  const mounts = await resolveMounts(parts, ctx, record, at.network.files, reverter);
  return {
    id,
    spec: withSecretEnvironment(withLinkEnvironment(record, parts.records), parts.lives.of(id).secretEnv),
    dir: at.dir,
    dataDir: dataDir(parts, id),
    chainId: record.chainId,
    rootfs: at.rootfs,
    mounts: sharedMemory === undefined ? mounts : [sharedMemory, ...mounts],
    hostname: spec.hostname,
    namespaces: { ...resolveNamespaces(parts, record), network: at.network.namespace },
    endpoints: at.network.endpoints,
    interfaces: interfacesOf(at.network.endpoints),
    cgroupPath: `${cgroupParent(parts)}/${id}`,
    logPath: spec.log.driver === "none" ? "" : logPath(parts, id),
    ...initialTerminal(spec.passthrough["HostConfig.ConsoleSize"]),
  };
}

/** Last, so that they win. */
function withSecretEnvironment(spec: InstanceSpec, secretEnv: readonly string[]): InstanceSpec {
  if (secretEnv.length === 0) return spec;
  return { ...spec, process: { ...spec.process, env: [...mergeEnvironment(spec.process.env, secretEnv)] } };
}

export function interfacesOf(endpoints: readonly EndpointRecord[]): readonly string[] {
  return endpoints.flatMap(({ interfaceName }) => (interfaceName === "" ? [] : [interfaceName]));
}

/** Docker's client sends the size of its terminal, `[height, width]`, when it creates a container with one. */
function initialTerminal(size: unknown): Pick<PrepareRequest, "terminal"> {
  if (!Array.isArray(size)) return {};
  const [rows, columns]: readonly unknown[] = size;
  if (typeof rows !== "number" || typeof columns !== "number" || rows <= 0 || columns <= 0) return {};
  return { terminal: { rows, columns } };
}

/** Clients that attached before the start get the streams from the first byte. */
async function connectWaitingSessions(
  parts: Parts,
  ctx: OpContext,
  driver: Driver,
  id: string,
  handle: DriverHandle,
): Promise<void> {
  const { waitingSessions } = parts.lives.of(id);
  for (const session of waitingSessions) {
    waitingSessions.delete(session);
    if (!session.over) session.connect(await attachBeforeStart(ctx, driver, id, handle));
  }
}

/** It can't have been running: that nobody can attach to it is the start's failure. */
async function attachBeforeStart(ctx: OpContext, driver: Driver, id: string, handle: DriverHandle): Promise<TaskIo> {
  try {
    return await driver.attach(ctx, handle);
  } catch (error) {
    if (!isBerthError(error, "TASK_NOT_RUNNING")) throw error;
    const reason = "its monitor ended before it was started";
    throw driverErrors.RUNTIME_FAILED({ id, step: "start", reason }, { cause: error });
  }
}
