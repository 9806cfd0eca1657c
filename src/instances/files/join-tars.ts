import { Readable } from "node:stream";
import { END_OF_ARCHIVE } from "../../archive/tar-writer.ts";
import { messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";

/** One archive of several, each opened when its turn comes: only the last keeps its end mark. */
export function joinTars(tars: readonly (() => Promise<Readable>)[]): Readable {
  return Readable.from(joined(tars));
}

async function* joined(tars: readonly (() => Promise<Readable>)[]): AsyncGenerator<Uint8Array> {
  for (const open of tars) {
    // What may be the end mark is held back until more comes.
    let held: Uint8Array = Buffer.alloc(0);
    for await (const chunk of await open()) {
      const bytes = Buffer.concat([held, chunk as Uint8Array]);
      const sure = Math.max(0, bytes.byteLength - END_OF_ARCHIVE.byteLength);
      if (sure > 0) yield bytes.subarray(0, sure);
      held = bytes.subarray(sure);
    }
  }
  yield END_OF_ARCHIVE;
}

/** Gives back what a stream needs when it has ended or was given up. */
export function onceClosed(stream: Readable, release: () => Promise<void>, log: Logger): void {
  const giveBack = () => {
    release().catch((error: unknown) =>
      log.warn({ error: messageOf(error) }, "could not give back an archive's source"),
    );
  };
  // One that was given up before anybody looked says so no more.
  if (stream.closed) giveBack();
  else stream.once("close", giveBack);
}
