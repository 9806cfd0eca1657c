/** RUN: a command in a container of the engine's own, whose changes become a layer. */
import { StringDecoder } from "node:string_decoder";
import { join } from "node:path";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import { shellOf } from "../../dockerfile/config-instruction.ts";
import { heredocText, parseHeredocWord } from "../../dockerfile/heredoc.ts";
import type { RunInstruction } from "../../dockerfile/instruction.ts";
import { writeFile } from "../../host/files.ts";
import { bareSpec } from "../../instances/bare-spec.ts";
import type { OutputFrame } from "../../instances/driver.ts";
import type { AttachSession, InstanceRequest } from "../../instances/instance-service.ts";
import type { ImageLayer } from "../../schema/image.ts";
import type { MountSpec } from "../../schema/instance.ts";
import type { Build } from "../build-parts.ts";
import { BuildCommandError, buildErrors } from "../errors.ts";
import type { PlannedMount } from "../mounts/planned-mount.ts";
import { openMounts, planMounts, type StepMounts } from "../mounts/step-mounts.ts";
import type { StepOutput } from "../output.ts";
import { throwIfCancelled } from "../solver.ts";
import { commitInstance } from "../step-layer.ts";
import { chainOf, envOf, type StepState } from "../step-state.ts";
import type { StepInput, StepPlan } from "./step-plan.ts";

export async function planRun(ctx: OpContext, input: StepInput<RunInstruction>): Promise<StepPlan> {
  const { build, instruction, state, output } = input;
  const [flag] = instruction.buildKitFlags;
  if (flag !== undefined) throw buildErrors.BUILD_NEEDS_BUILDKIT({ what: `the --${flag} option of RUN` });
  const command = commandOf(instruction, state);
  const args = state.args.forCache(envOf(state));
  const mounts = await planMounts(ctx, input);
  // For a shell a comment; here the digests of what is mounted, as COPY's line in history has them.
  const comments = mounts.length === 0 ? [] : ["#", ...mounts.map(({ comment }) => comment)];
  return {
    next: state,
    createdBy: [...(args.length > 0 ? [`|${args.length}`, ...args] : []), ...command.argv, ...comments].join(" "),
    extraKey: { script: command.script ?? "", network: instruction.network },
    makeLayer: (ctx) => runStep(ctx, { build, state, output, command, network: instruction.network, mounts }),
  };
}

interface Command {
  readonly argv: readonly string[];
  /** A heredoc that names its own interpreter: run as a file. */
  readonly script?: { readonly name: string; readonly content: string };
}

/** Where scripts are found by the command, out of the layer's sight. */
const scriptDirectory = "/dev/pipes";

function commandOf({ command, heredocs }: RunInstruction, state: StepState): Command {
  if (command.form === "exec") return { argv: command.words };
  const shell = shellOf(state.config);
  const [only, ...more] = heredocs;
  if (only === undefined) return { argv: [...shell, command.line] };
  if (more.length > 0 || parseHeredocWord(command.line) === undefined) {
    // The shell reads its own heredocs.
    const documents = heredocs.map((heredoc) => `\n${heredoc.content}${heredoc.name}`);
    return { argv: [...shell, command.line + documents.join("")] };
  }
  const content = heredocText(only);
  if (!content.startsWith("#!")) return { argv: [...shell, content] };
  return { argv: [...shell, join(scriptDirectory, only.name)], script: { name: only.name, content } };
}

interface Step {
  readonly build: Build;
  readonly state: StepState;
  readonly output: StepOutput;
  readonly command: Command;
  readonly network: string;
  readonly mounts: readonly PlannedMount[];
}

async function runStep(ctx: OpContext, step: Step): Promise<ImageLayer | undefined> {
  const { instances, caches } = step.build.parts;
  await using mounted = await openMounts(ctx, caches, step.mounts);
  const { record, warnings } = await instances.create(ctx, await instanceRequest(step, mounted));
  const { id } = record;
  let succeeded = false;
  try {
    for (const warning of warnings) step.output.warning(warning);
    step.output.runningIn(id);
    const exitCode = await runToEnd(ctx, step, id);
    if (exitCode !== 0) throw new BuildCommandError(step.command.argv.join(" "), exitCode);
    const targets = mounted.mounts.map(({ target }) => target);
    const layer = await commitInstance(ctx, step.build.parts, id, targets);
    succeeded = true;
    return layer;
  } finally {
    await instances.remove(cleanupContext(ctx), id, { force: true, volumes: true });
    if (succeeded || step.build.request.forceRemove) step.output.removed(id);
  }
}

async function runToEnd(ctx: OpContext, { build, output }: Step, id: string): Promise<number> {
  const { instances } = build.parts;
  const session = await instances.attach(ctx, id, {
    stdin: false,
    stdout: true,
    stderr: true,
    logs: false,
    stream: true,
  });
  try {
    const { done } = await instances.wait(ctx, id, "next-exit");
    // Whichever of the two fails first must not leave the other's rejection unheard.
    const finished = Promise.all([done, printOutput(session, output)]);
    finished.catch(() => {});
    await instances.start(ctx, id);
    const [result] = await untilAborted(ctx, finished);
    if (result.error !== "") throw buildErrors.BUILD_RUN_FAILED({ command: id, reason: result.error });
    return result.exitCode;
  } catch (error) {
    throwIfCancelled(ctx);
    throw error;
  } finally {
    session.detach();
  }
}

async function printOutput(session: AttachSession, output: StepOutput): Promise<void> {
  // Characters may be cut in two by a chunk's end.
  const decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
  for await (const value of session.output) {
    const frame: OutputFrame = value;
    const text = decoders[frame.stream].write(Buffer.from(frame.data));
    if (text !== "") output.commandOutput(frame.stream, text);
  }
  for (const stream of ["stdout", "stderr"] as const) {
    const rest = decoders[stream].end();
    if (rest !== "") output.commandOutput(stream, rest);
  }
}

async function untilAborted<T>(ctx: OpContext, work: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(ctx.signal.reason);
  if (ctx.signal.aborted) onAbort();
  ctx.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    ctx.signal.removeEventListener("abort", onAbort);
  }
}

async function instanceRequest(
  { build, state, command, network }: Step,
  mounted: StepMounts,
): Promise<InstanceRequest> {
  const { request } = build;
  const mode = network === "" || network === "default" ? request.networkMode : network;
  const env = envOf(state);
  const args = state.args.forRun(env);
  const own = new Set([...env, ...args].map((variable) => variable.split("=", 1)[0]));
  // Of several agents the first one is the default.
  const added = mounted.env.filter((variable) => !own.has(variable.split("=", 1)[0])).slice(0, 1);
  return {
    ...bareSpec,
    isolation: "container",
    name: "",
    image: state.image?.id ?? "",
    rootfsChainId: chainOf(state),
    process: {
      ...bareSpec.process,
      cmd: [...command.argv],
      env: [...env, ...args, ...added],
      user: state.config.User ?? "",
      workingDir: state.config.WorkingDir ?? "",
    },
    mounts: [...(await scriptMount(build, command)), ...mounted.mounts],
    secretEnv: mounted.secretEnv,
    shmSize: request.shmSize,
    ulimits: [...request.ulimits],
    resources: request.resources,
    network: {
      ...bareSpec.network,
      mode: mode === "" || mode === "default" ? "bridge" : mode,
      extraHosts: [...request.extraHosts],
    },
    healthcheck: { Test: ["NONE"] },
    internal: true,
  };
}

async function scriptMount(build: Build, { script }: Command): Promise<MountSpec[]> {
  if (script === undefined) return [];
  const source = join(build.directory, `script-${build.nextSnapshotId()}`);
  await writeFile(source, script.content, { mode: 0o755 });
  return [
    {
      type: "bind",
      source,
      target: join(scriptDirectory, script.name),
      readOnly: true,
      propagation: "rprivate",
      createSource: false,
    },
  ];
}
