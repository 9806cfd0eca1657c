import type { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { OpContext } from "../base/op-context.ts";
import { buildKitErrors } from "./errors.ts";

/** As in Docker: the two requests come within this of each other. */
const patienceMs = 5000;

interface Meeting {
  readonly body: PromiseWithResolvers<Readable>;
  /** Resolved when the build has it; it is over when the build is. */
  readonly taken: PromiseWithResolvers<void>;
  readonly over: PromiseWithResolvers<void>;
}

/**
 * Contexts that come as the body of a request of their own (`buildid=upload-request:ID`), for the build that asks for one
 * (`remote=upload-request&buildid=ID`): docker 18.09 to 20.10 with a tar on standard input. Either may come first.
 */
export class Uploads {
  readonly #meetings = new Map<string, Meeting>();

  /** Gives a build its context, and waits until it was read or the build is over. */
  async give(ctx: OpContext, id: string, body: Readable): Promise<void> {
    const meeting = this.#meet(id);
    meeting.body.resolve(body);
    try {
      await inTime(ctx, meeting.taken.promise, "no build asked for it");
    } catch (error) {
      this.#meetings.delete(id);
      throw error;
    }
    await Promise.race([finished(body, { writable: false }), meeting.over.promise]);
  }

  /** Runs a build with the context that comes for it. */
  async use<T>(ctx: OpContext, id: string, work: (body: Readable) => Promise<T>): Promise<T> {
    const meeting = this.#meet(id);
    try {
      const body = await inTime(ctx, meeting.body.promise, "it did not come");
      meeting.taken.resolve();
      return await work(body);
    } finally {
      meeting.over.resolve();
      this.#meetings.delete(id);
    }
  }

  #meet(id: string): Meeting {
    const found = this.#meetings.get(id);
    if (found !== undefined) return found;
    const made: Meeting = {
      body: Promise.withResolvers(),
      taken: Promise.withResolvers(),
      over: Promise.withResolvers(),
    };
    this.#meetings.set(id, made);
    return made;
  }
}

async function inTime<T>({ signal }: OpContext, promise: Promise<T>, reason: string): Promise<T> {
  const done = new AbortController();
  const late = delay(patienceMs, undefined, { signal: AbortSignal.any([signal, done.signal]) }).then(() => {
    throw buildKitErrors.BUILDKIT_UPLOAD_MISSED({ reason });
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    done.abort();
    late.catch(() => {});
  }
}
