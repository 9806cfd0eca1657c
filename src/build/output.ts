/** The text that a build prints, in the words of Docker's classic builder. */
import { shortId } from "../base/ids.ts";
import type { ProgressEvent, ProgressSink } from "../base/progress.ts";

/**
 * Keeps the output of stages that run at the same time in the order of the Dockerfile: the first unfinished one speaks,
 * the others wait their turn.
 */
export class OrderedOutput {
  readonly #sink: ProgressSink;
  readonly #channels: { held: ProgressEvent[]; ended: boolean }[] = [];
  #speaking = 0;

  constructor(sink: ProgressSink) {
    this.#sink = sink;
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
export class StepOutput {
  readonly sink: ProgressSink;
  readonly #number: number;
  readonly #total: number;

  constructor(sink: ProgressSink, number: number, total: number) {
    this.sink = sink;
    this.#number = number;
    this.#total = total;
  }

  /** The same output, for the triggers of this step. */
  trigger(): StepOutput {
    return new StepOutput(this.sink, 0, this.#total);
  }

  line(text: string): void {
    this.sink({ stream: `${text}\n` });
  }

  begin(text: string): void {
    if (this.#number > 0) this.line(`Step ${this.#number}/${this.#total} : ${text}`);
  }

  /** The step's image; "" for scratch. */
  end(imageId: string): void {
    if (this.#number > 0) this.line(` ---> ${shortId(imageId)}`);
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
