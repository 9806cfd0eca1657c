import { pipeline } from "node:stream";
import type { AttachSession } from "../../../instances/instance-service.ts";
import type { RawConnection } from "./connection.ts";
import { detachFilter } from "./detach-keys.ts";
import { outputBytes } from "./stdcopy.ts";

/**
 * Joins a session's streams and a client's connection until either ends. Back-pressure goes both ways: a client that reads
 * slowly slows the reading of the process's output, it does not fill memory.
 */
export async function joinSession(
  session: AttachSession,
  connection: RawConnection,
  options: { readonly detachKeys: readonly number[]; readonly raw: boolean; readonly stdin: boolean },
): Promise<void> {
  const finished = Promise.withResolvers<void>();
  // A client that is gone leaves the session; a process that has ended its output ends the connection.
  connection.gone.addEventListener("abort", () => session.detach(), { once: true });
  if (connection.gone.aborted) session.detach();
  if (options.stdin && session.stdin !== undefined) {
    const keys = detachFilter(options.detachKeys, () => session.detach());
    // Its errors are a process that closed its input, or a client that broke off: the output side ends the session.
    connection.input.pipe(keys).pipe(session.stdin);
    keys.on("error", () => session.detach());
    session.stdin.on("error", () => connection.input.unpipe(keys));
  } else {
    // Read on, so that the client's end is noticed.
    connection.input.resume();
  }
  const bytes = outputBytes(options.raw);
  pipeline(session.output, bytes, (error) => {
    if (error) session.detach();
  });
  bytes.pipe(connection.output, { end: false });
  bytes.once("close", finished.resolve);
  bytes.once("end", finished.resolve);
  connection.gone.addEventListener("abort", () => finished.resolve(), { once: true });
  await finished.promise;
  connection.close();
}
