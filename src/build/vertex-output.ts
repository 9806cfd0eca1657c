/** A build as BuildKit's clients draw it: a vertex for each step that makes files, with its own time, output and end. */
import { randomUUID } from "node:crypto";
import { messageOf } from "../base/errors.ts";
import type { ProgressEvent, ProgressSink } from "../base/progress.ts";
import type { StageInstruction } from "../dockerfile/instruction.ts";
import { parseReference } from "../images/reference.ts";
import { BuildCommandError } from "./errors.ts";
import type { AnnouncedStage, BuildOutput, StageOutput, StepOutput } from "./output.ts";

export interface VertexSink {
  started(vertex: StepVertex): void;
  /** `error` undefined is a good end. */
  completed(id: string, outcome: { readonly cached: boolean; readonly error?: string }): void;
  log(id: string, stream: "stdout" | "stderr", text: string): void;
  /** Of a part of it, such as a layer that is pulled. */
  progress(id: string, event: ProgressEvent): void;
  /** All have ended, well or not; the image is named next. */
  stepsEnded(): void;
}

interface StepVertex {
  readonly id: string;
  readonly name: string;
  readonly inputs: readonly string[];
}

export class VertexOutput implements BuildOutput {
  readonly #sink: VertexSink;

  constructor(sink: VertexSink) {
    this.#sink = sink;
  }

  metaArgs(): void {
    // They make nothing.
  }

  stage(stage: AnnouncedStage, several: boolean): StageOutput {
    const title = stage.name === "" ? `stage-${stage.index}` : stage.name;
    const prefix = several ? `${title} ` : "";
    const from = stage.image === undefined ? undefined : `FROM ${fullName(stage.image)}`;
    const names = [from, ...stage.instructions.map((step) => (makesFiles(step) ? stepName(step) : undefined))];
    const total = names.filter((name) => name !== undefined).length;
    let before: string | undefined;
    let shown = 0;
    const steps = names.map((name) => {
      if (name === undefined) return new VertexStepOutput(this.#sink, undefined);
      const id = vertexId();
      const inputs = before === undefined ? [] : [before];
      before = id;
      return new VertexStepOutput(this.#sink, { id, name: `[${prefix}${++shown}/${total}] ${name}`, inputs });
    });
    let next = 0;
    return { step: () => steps[next++] ?? new TriggerOutput(this.#sink), end: () => {} };
  }

  flush(): void {
    this.#sink.stepsEnded();
  }
}

/** Clients take it for a digest, and only compare it. */
export function vertexId(): string {
  return `sha256:${randomUUID().replaceAll("-", "").repeat(2)}`;
}

class VertexStepOutput implements StepOutput {
  readonly sink: ProgressSink;
  readonly #to: VertexSink;
  #vertex: StepVertex | undefined;
  #ended = false;
  #cached = false;

  /** Without a vertex, a step that only changes the image's configuration. */
  constructor(to: VertexSink, vertex: StepVertex | undefined) {
    this.#to = to;
    this.#vertex = vertex;
    this.sink = (event) => {
      if (this.#vertex !== undefined) to.progress(this.#vertex.id, event);
    };
  }

  trigger(): StepOutput {
    return new TriggerOutput(this.#to);
  }

  line(text: string): void {
    this.#log("stdout", `${text}\n`);
  }

  begin(_text: string): void {
    if (this.#vertex !== undefined) this.#to.started(this.#vertex);
  }

  /** A step that nobody foresaw has its vertex when it begins. */
  protected become(vertex: StepVertex): void {
    this.#vertex = vertex;
  }

  end(): void {
    this.#complete({ cached: this.#cached });
  }

  failed(error: unknown): void {
    this.#complete({ cached: false, error: processError(error) });
  }

  cancelled(): void {
    this.#complete({ cached: false, error: "context canceled" });
  }

  usingCache(): void {
    this.#cached = true;
  }

  runningIn(): void {
    // The container is the builder's own business.
  }

  removed(): void {
    // As above.
  }

  warning(text: string): void {
    this.#log("stderr", `${text}\n`);
  }

  commandOutput(stream: "stdout" | "stderr", text: string): void {
    this.#log(stream, text);
  }

  #log(stream: "stdout" | "stderr", text: string): void {
    if (this.#vertex !== undefined) this.#to.log(this.#vertex.id, stream, text);
  }

  #complete(outcome: { readonly cached: boolean; readonly error?: string }): void {
    if (this.#vertex === undefined || this.#ended) return;
    this.#ended = true;
    this.#to.completed(this.#vertex.id, outcome);
  }
}

/** A step that an image's ONBUILD brings: it has a vertex, and no number. */
class TriggerOutput extends VertexStepOutput {
  constructor(to: VertexSink) {
    super(to, undefined);
  }

  override begin(text: string): void {
    if (/^(?:run|copy|add|workdir)\s/i.test(text)) this.become({ id: vertexId(), name: `ONBUILD ${text}`, inputs: [] });
    super.begin(text);
  }
}

/** As BuildKit words it. */
export function processError(error: unknown): string {
  return error instanceof BuildCommandError
    ? `process ${JSON.stringify(error.command)} did not complete successfully: exit code: ${error.exitCode}`
    : messageOf(error);
}

function makesFiles({ kind }: StageInstruction): boolean {
  return kind === "run" || kind === "copy" || kind === "add" || kind === "workdir";
}

/** With its keyword in capitals, as BuildKit shows it. */
function stepName({ text }: StageInstruction): string {
  return text.replace(/^\S+/, (keyword) => keyword.toUpperCase());
}

function fullName(image: string): string {
  if (/^sha256:[0-9a-f]{64}$/.test(image)) return image;
  const { domain, path, tag, digest } = parseReference(image);
  const suffix = digest === undefined ? `:${tag ?? "latest"}` : `${tag === undefined ? "" : `:${tag}`}@${digest}`;
  return `${domain}/${path}${suffix}`;
}
