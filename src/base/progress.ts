/**
 * One step of a long operation's progress, in the terms of Docker's JSON message stream: what `docker pull`,
 * `push`, `load` and `build` draw. `id` names the line that is redrawn (a short layer digest), else a line is added.
 */
export interface ProgressEvent {
  readonly id?: string;
  /** "Pulling fs layer", "Downloading", "Extracting", "Pull complete", ... */
  readonly status?: string;
  /** Text to print as it is (build output). */
  readonly stream?: string;
  /** Bytes. */
  readonly current?: number;
  readonly total?: number;
  /** Out-of-band result, e.g. `{ ID: "sha256:…" }` of a build. */
  readonly aux?: object;
}

export type ProgressSink = (event: ProgressEvent) => void;

export const noProgress: ProgressSink = () => {};
