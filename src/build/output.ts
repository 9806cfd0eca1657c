/** What a build tells of its steps; and as text, in the words of Docker's classic builder. */
import { shortId } from "../base/ids.ts";
import type { ProgressEvent, ProgressSink } from "../base/progress.ts";
import type { ArgInstruction, StageInstruction } from "../dockerfile/instruction.ts";

/** A stage that is about to be built. */
export interface AnnouncedStage {
  /** From 0, in the Dockerfile. */
  readonly index: number;
  /** "" when it has none. */
  readonly name: string;
  /** Name of the image that it starts from; undefined for another stage, and for scratch. */
  readonly image: string | undefined;
  readonly instructions: readonly StageInstruction[];
}

export interface BuildOutput {
  /** The steps before the first stage, of `total`. */
  metaArgs(instructions: readonly ArgInstruction[], total: number): void;
  /** Stages are announced in the Dockerfile's order; of several, each says which it is. */
  stage(stage: AnnouncedStage, several: boolean): StageOutput;
  /** The build is over, well or not. */
  flush(): void;
}

export interface StageOutput {
  /** The next step: the stage's FROM, then its instructions. `number` 0 is one of a stage that nobody foresaw. */
  step(number: number, total: number): StepOutput;
  end(imageId: string | undefined): void;
}

/** What one step tells. */
export interface StepOutput {
  /** Of the pull or the download that is a part of it. */
  readonly sink: ProgressSink;
  /** The same output, for the triggers of this step. */
  trigger(): StepOutput;
  line(text: string): void;
  begin(text: string): void;
  /** The step's image; "" for scratch. */
  end(imageId: string): void;
  failed(error: unknown): void;
  /** It was given up, for another's failure or because the build was. */
  cancelled(): void;
  usingCache(): void;
  runningIn(instanceId: string): void;
  removed(instanceId: string): void;
  warning(text: string): void;
  commandOutput(stream: "stdout" | "stderr", text: string): void;
}

/**
 * Keeps the output of stages that run at the same time in the order of the Dockerfile: the first unfinished one speaks,
 * the others wait their turn.
 */
export class OrderedOutput implements BuildOutput {
  readonly #sink: ProgressSink;
  readonly #channels: { held: ProgressEvent[]; ended: boolean }[] = [];
  #speaking = 0;

  constructor(sink: ProgressSink) {
    this.#sink = sink;
  }

  metaArgs(instructions: readonly ArgInstruction[], total: number): void {
    const channel = this.channel();
    for (const [index, { text }] of instructions.entries())
      new TextStepOutput(channel.sink, index + 1, total).begin(text);
    channel.end();
  }

  stage(): StageOutput {
    const channel = this.channel();
    return {
      step: (number, total) => new TextStepOutput(channel.sink, number, total),
      end: (imageId) => {
        if (imageId !== undefined) channel.sink({ aux: { ID: imageId } });
        channel.end();
      },
    };
  }

  /** Adds a channel behind the others. */
  channel(): OutputChannel {
    const index = this.#channels.length;
    const channel = { held: [] as ProgressEvent[], ended: false };
    this.#channels.push(channel);
    return {
      sink: (event) => {
        if (index === this.#speaking) this.#sink(event);
        else channel.held.push(event);
      },
      end: () => {
        channel.ended = true;
        this.#advance();
      },
    };
  }

  /** Prints everything that is still held: the build is over. */
  flush(): void {
    for (const channel of this.#channels) channel.ended = true;
    this.#advance();
  }

  #advance(): void {
    while (this.#channels[this.#speaking]?.ended === true) {
      this.#speaking++;
      const next = this.#channels[this.#speaking];
      for (const event of next?.held.splice(0) ?? []) this.#sink(event);
    }
  }
}

export interface OutputChannel {
  readonly sink: ProgressSink;
  end(): void;
}

/** What one step prints. `number` 0 is a step without a number of its own: an ONBUILD trigger. */
export class TextStepOutput implements StepOutput {
  readonly sink: ProgressSink;
  readonly #number: number;
  readonly #total: number;

  constructor(sink: ProgressSink, number: number, total: number) {
    this.sink = sink;
    this.#number = number;
    this.#total = total;
  }

  trigger(): StepOutput {
    return new TextStepOutput(this.sink, 0, this.#total);
  }

  line(text: string): void {
    this.sink({ stream: `${text}\n` });
  }

  begin(text: string): void {
    if (this.#number > 0) this.line(`Step ${this.#number}/${this.#total} : ${text}`);
  }

  end(imageId: string): void {
    if (this.#number > 0) this.line(` ---> ${shortId(imageId)}`);
  }

  failed(): void {
    // The build's own error is printed behind all steps.
  }

  cancelled(): void {
    // As above.
  }

  usingCache(): void {
    this.line(" ---> Using cache");
  }

  runningIn(instanceId: string): void {
    this.line(` ---> Running in ${shortId(instanceId)}`);
  }

  removed(instanceId: string): void {
    this.line(` ---> Removed intermediate container ${shortId(instanceId)}`);
  }

  warning(text: string): void {
    this.line(` ---> [Warning] ${text}`);
  }

  /** Output of the command; errors in red, as Docker has them. */
  commandOutput(stream: "stdout" | "stderr", text: string): void {
    this.sink({ stream: stream === "stdout" ? text : `\u001B[91m${text}\u001B[0m` });
  }
}
