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
  const bytes = outputBytes(options.raw);
  const leave = () => {
    session.detach();
    bytes.destroy();
  };
  // A client that is gone leaves the session; a process that has ended its output ends the connection.
  if (connection.gone.aborted) leave();
  connection.gone.addEventListener("abort", leave, { once: true });
  if (options.stdin && session.stdin !== undefined) {
    const keys = detachFilter(options.detachKeys, () => session.detach(true));
    connection.input.pipe(keys).pipe(session.stdin);
    // A process that has closed its input takes no more, and may still write.
    session.stdin.on("error", () => connection.input.unpipe(keys).resume());
  } else {
    // Read on, so that the client's end is noticed.
    connection.input.resume();
  }
  session.output.on("error", leave);
  const closed = Promise.withResolvers<void>();
  bytes.once("close", closed.resolve);
  session.output.pipe(bytes).pipe(connection.output, { end: false });
  await closed.promise;
  connection.close();
}
