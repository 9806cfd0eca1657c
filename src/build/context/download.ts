import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { utimes } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BerthError, messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { buildErrors } from "../errors.ts";

export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/** Starts a GET; anything but success is `BUILD_DOWNLOAD_FAILED`. */
export async function openUrl(
  ctx: OpContext,
  url: string,
): Promise<{ readonly response: Response; readonly body: Readable }> {
  let response: Response;
  try {
    response = await fetch(url, { signal: ctx.signal, redirect: "follow" });
  } catch (error) {
    ctx.signal.throwIfAborted();
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw buildErrors.BUILD_DOWNLOAD_FAILED({ url, reason: messageOf(cause) }, { cause: error });
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw buildErrors.BUILD_DOWNLOAD_FAILED({
      url,
      reason: `the server answered ${response.status} ${response.statusText}`,
    });
  }
  return { response, body: Readable.fromWeb(response.body) };
}

/**
 * Downloads a file into `directory`, mode 0600, with the server's Last-Modified as its time (else the epoch).
 * `name` is "" when neither the URL nor the server names it; it is then stored as "__unnamed__".
 */
export async function download(
  ctx: OpContext,
  url: string,
  directory: string,
  options: { readonly checksum: string; readonly progress: ProgressSink },
): Promise<{ readonly name: string }> {
  const expected = options.checksum;
  if (expected !== "" && !/^sha256:[0-9a-f]{64}$/.test(expected)) {
    throw buildErrors.BUILD_OPTION_UNSUPPORTED({
      option: "--checksum",
      reason: `${expected} is no sha256:<64 hex digits>`,
    });
  }
  const { response, body } = await openUrl(ctx, url);
  const name = fileNameOf(url, response);
  const file = join(directory, name === "" ? "__unnamed__" : name);
  const hash = createHash("sha256");
  const total = Number(response.headers.get("content-length") ?? 0);
  let current = 0;
  try {
    await pipeline(
      body,
      async function* (chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          current += chunk.length;
          options.progress({ status: "Downloading", current, ...(total > 0 ? { total } : {}) });
          yield chunk;
        }
      },
      createWriteStream(file, { flags: "wx", mode: 0o600 }),
      { signal: ctx.signal },
    );
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (error instanceof BerthError) throw error;
    throw buildErrors.BUILD_DOWNLOAD_FAILED({ url, reason: messageOf(error) }, { cause: error });
  }
  options.progress({ stream: "\n" });
  const actual = `sha256:${hash.digest("hex")}`;
  if (expected !== "" && actual !== expected) throw buildErrors.BUILD_CHECKSUM_MISMATCH({ url, expected, actual });
  const modified = new Date(response.headers.get("last-modified") ?? 0);
  const time = Number.isNaN(modified.getTime()) ? new Date(0) : modified;
  await utimes(file, time, time);
  return { name };
}

function fileNameOf(url: string, response: Response): string {
  const { pathname } = new URL(url);
  if (!pathname.endsWith("/")) return safeName(basename(decodeName(pathname)));
  const disposition = response.headers.get("content-disposition") ?? "";
  return safeName(basename(/filename="?([^";]+)"?/i.exec(disposition)?.[1] ?? ""));
}

/** A server's name for a file must not become a path. */
function safeName(name: string): string {
  return name === "." || name === ".." || name.includes("\0") ? "" : name;
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
