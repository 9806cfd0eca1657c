/** Steps of the builder's own, beside those of the Dockerfile. */
import { messageOf } from "../base/errors.ts";
import { vertexId } from "../build/vertex-output.ts";
import type { StatusLog } from "./status-log.ts";

/** Tells a line below the step: what is under way, and how many bytes of it are done. */
export type TellPart = (name: string, part: { readonly current?: number; readonly done: boolean }) => void;

/** Tells the step from its beginning to its end, whatever that is. */
export async function ownStep<T>(status: StatusLog, name: string, work: (tell: TellPart) => Promise<T>): Promise<T> {
  const id = vertexId();
  status.started({ id, name, inputs: [] });
  try {
    const result = await work((part, progress) => status.part(id, part, progress));
    status.completed(id, { cached: false });
    return result;
  } catch (error) {
    status.completed(id, { cached: false, error: messageOf(error) });
    throw error;
  }
}

/** For a step's work to call as often as it likes: what is transferred is told ten times a second at most. */
export function transferred(
  tell: TellPart,
  part: string,
): { readonly report: (bytes: number) => void; readonly done: () => void } {
  let current = 0;
  let told = 0;
  return {
    report: (bytes) => {
      current = bytes;
      if (Date.now() - told < tellEveryMs) return;
      told = Date.now();
      tell(part, { current, done: false });
    },
    done: () => tell(part, { current, done: true }),
  };
}

const tellEveryMs = 100;
