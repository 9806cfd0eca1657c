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
import type { StepOutput } from "../output.ts";
import { throwIfCancelled } from "../solver.ts";
import { commitInstance } from "../step-layer.ts";
import { chainOf, envOf, type StepState } from "../step-state.ts";
import type { StepInput, StepPlan } from "./step-plan.ts";

export function planRun({ build, instruction, state, output }: StepInput<RunInstruction>): StepPlan {
  const [flag] = instruction.buildKitFlags;
  if (flag !== undefined) throw buildErrors.BUILD_NEEDS_BUILDKIT({ what: `the --${flag} option of RUN` });
  const command = commandOf(instruction, state);
  const args = state.args.forCache(envOf(state));
  return {
    next: state,
    createdBy: [...(args.length > 0 ? [`|${args.length}`, ...args] : []), ...command.argv].join(" "),
    extraKey: { script: command.script ?? "", network: instruction.network },
    makeLayer: (ctx) => runStep(ctx, { build, state, output, command, network: instruction.network }),
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
}

async function runStep(ctx: OpContext, step: Step): Promise<ImageLayer | undefined> {
  const { instances } = step.build.parts;
  const { record, warnings } = await instances.create(ctx, await instanceRequest(step));
  const { id } = record;
  let succeeded = false;
  try {
    for (const warning of warnings) step.output.warning(warning);
    step.output.runningIn(id);
    const exitCode = await runToEnd(ctx, step, id);
    if (exitCode !== 0) throw new BuildCommandError(step.command.argv.join(" "), exitCode);
    const layer = await commitInstance(ctx, step.build.parts, id);
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

async function instanceRequest({ build, state, command, network }: Step): Promise<InstanceRequest> {
  const { request } = build;
  const mode = network === "" || network === "default" ? request.networkMode : network;
  const env = envOf(state);
  return {
    ...bareSpec,
    isolation: "container",
    name: "",
    image: state.image?.id ?? "",
    rootfsChainId: chainOf(state),
    process: {
      ...bareSpec.process,
      cmd: [...command.argv],
      env: [...env, ...state.args.forRun(env)],
      user: state.config.User ?? "",
      workingDir: state.config.WorkingDir ?? "",
    },
    mounts: await scriptMount(build, command),
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
