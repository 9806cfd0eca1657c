/** What instructions do to an image's run configuration; pure, for builds as for `commit --change`. */
import path from "node:path/posix";
import { locate, syntaxError } from "./errors.ts";
import { formatGoDuration, goQuoteList } from "./go-format.ts";
import type { CommandInstruction, CommandLine, ConfigInstruction } from "./instruction.ts";
import { exposedPorts } from "./ports.ts";
import { isSignal } from "./signals.ts";
import type { Healthcheck, ImageRunConfig } from "../schema/image.ts";

export interface ConfigState {
  readonly config: ImageRunConfig;
  /** Whether a CMD came in this stage: ENTRYPOINT then keeps it, and drops an inherited one. */
  readonly cmdSet: boolean;
  readonly author: string;
}

export interface ConfigChange extends ConfigState {
  /** What history says was done, e.g. `CMD ["nginx"]`. */
  readonly comment: string;
  /** A line for the user. */
  readonly note?: string;
}

/** Applies an instruction whose variables are expanded. Throws `DOCKERFILE_INVALID` for values that can't be. */
export function applyConfigInstruction(state: ConfigState, instruction: ConfigInstruction): ConfigChange {
  return locate(instruction.position, () => apply(state, instruction));
}

/** The command that an exec form or a shell form runs. */
function commandWords(command: CommandLine, config: ImageRunConfig): readonly string[] {
  if (command.form === "exec") return command.words;
  return [...shellOf(config), ...(command.line === "" ? [] : [command.line])];
}

/** `SHELL`, or the default. */
export function shellOf(config: ImageRunConfig): readonly string[] {
  return config.Shell === null || config.Shell === undefined || config.Shell.length === 0
    ? ["/bin/sh", "-c"]
    : config.Shell;
}

/** `target` seen from the directory `from` ("" is the root), without `.`, `..` and a slash at the end. */
function resolveWorkdir(from: string, target: string): string {
  if (target === "") syntaxError("cannot normalize nothing");
  return path.resolve("/", from, target);
}

function apply(state: ConfigState, instruction: ConfigInstruction): ConfigChange {
  const { config } = state;
  switch (instruction.kind) {
    case "env": {
      const added = instruction.pairs.map(({ key, value }) => ({ key, text: `${key}=${value}` }));
      const env = [...(config.Env ?? [])];
      for (const { key, text } of added) {
        if (key === "") syntaxError("ENV names can not be blank");
        const at = env.findIndex((variable) => variable.split("=", 1)[0] === key);
        if (at < 0) env.push(text);
        else env[at] = text;
      }
      return configured(state, { Env: env }, ["ENV", ...added.map(({ text }) => text)].join(" "));
    }
    case "label": {
      const labels = Object.fromEntries(instruction.pairs.map(({ key, value }) => [key, value]));
      const comment = ["LABEL", ...instruction.pairs.map(({ key, value }) => `${key}=${value}`)].join(" ");
      return configured(state, { Labels: { ...config.Labels, ...labels } }, comment);
    }
    case "cmd":
    case "entrypoint":
      return applyCommand(state, instruction);
    case "expose": {
      const ports = Object.fromEntries(instruction.ports.flatMap(exposedPorts).map((port) => [port, {}]));
      return configured(
        state,
        { ExposedPorts: { ...config.ExposedPorts, ...ports } },
        `EXPOSE ${instruction.ports.join(" ")}`,
      );
    }
    case "healthcheck": {
      const before = config.Healthcheck?.Test ?? [];
      const change = configured(
        state,
        { Healthcheck: instruction.check },
        `HEALTHCHECK ${describe(instruction.check)}`,
      );
      if (before.length === 0 || before[0] === "NONE") return change;
      return { ...change, note: `Note: overriding previous HEALTHCHECK: [${before.join(" ")}]` };
    }
    case "onbuild":
      return configured(
        state,
        { OnBuild: [...(config.OnBuild ?? []), instruction.trigger] },
        `ONBUILD ${instruction.trigger}`,
      );
    case "maintainer":
      return { ...state, author: instruction.value, comment: `MAINTAINER ${instruction.value}` };
    case "user":
      return configured(state, { User: instruction.value }, `USER ${instruction.value}`);
    case "workdir": {
      const directory = resolveWorkdir(config.WorkingDir ?? "", instruction.value);
      return configured(state, { WorkingDir: directory }, `WORKDIR ${directory}`);
    }
    case "stopsignal":
      if (!isSignal(instruction.value)) syntaxError(`invalid signal: ${instruction.value}`);
      return configured(state, { StopSignal: instruction.value }, `STOPSIGNAL ${instruction.value}`);
    case "volume": {
      if (instruction.paths.includes("")) syntaxError("VOLUME specified can not be an empty string");
      const volumes = Object.fromEntries(instruction.paths.map((target) => [target, {}]));
      return configured(
        state,
        { Volumes: { ...config.Volumes, ...volumes } },
        `VOLUME [${instruction.paths.join(" ")}]`,
      );
    }
    case "shell":
      return configured(state, { Shell: [...instruction.shell] }, `SHELL [${instruction.shell.join(" ")}]`);
  }
}

function applyCommand(state: ConfigState, instruction: CommandInstruction): ConfigChange {
  const words = [...commandWords(instruction.command, state.config)];
  const given = instruction.command.form === "exec" ? words.length > 0 : instruction.command.line !== "";
  if (instruction.kind === "cmd") {
    return { ...configured(state, { Cmd: words }, `CMD ${goQuoteList(words)}`), cmdSet: state.cmdSet || given };
  }
  const entrypoint = given ? words : null;
  const change = configured(state, { Entrypoint: entrypoint }, `ENTRYPOINT ${goQuoteList(entrypoint ?? [])}`);
  return state.cmdSet ? change : { ...change, config: { ...change.config, Cmd: null } };
}

/** As Docker's history has it: `&{[CMD-SHELL curl -f x] 30s 0s 0s 0s 3}`. */
function describe(check: Healthcheck): string {
  const times = [check.Interval, check.Timeout, check.StartPeriod, check.StartInterval].map((ns) =>
    formatGoDuration(ns ?? 0),
  );
  return `&{[${(check.Test ?? []).join(" ")}] ${times.join(" ")} ${check.Retries ?? 0}}`;
}

function configured(state: ConfigState, change: Partial<ImageRunConfig>, comment: string): ConfigChange {
  return { ...state, config: { ...state.config, ...change }, comment };
}
