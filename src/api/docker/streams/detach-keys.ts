/** The keys that leave a container running: typed by the client, never passed on. */
import { Transform } from "node:stream";
import { apiErrors } from "../errors.ts";

/** Ctrl-P Ctrl-Q. */
const defaultKeys = [16, 17];

/** Codes of "ctrl-p,ctrl-q", "ctrl-@", "a": what a terminal sends for them. */
export function parseDetachKeys(text: string): readonly number[] {
  if (text === "") return defaultKeys;
  return text.split(",").map((key) => {
    const code = keyCode(key);
    if (code === undefined) throw apiErrors.API_BAD_REQUEST({ message: `Invalid detach keys (${text}) provided` });
    return code;
  });
}

function keyCode(key: string): number | undefined {
  if (key.length === 1) return key.charCodeAt(0);
  const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
  return control === undefined ? undefined : control.toUpperCase().charCodeAt(0) & 0x1f;
}

/**
 * Passes input on until the keys come in a row; then calls `onDetach` and swallows the rest. Keys that turn out to be the
 * beginning of something else are passed on late.
 */
export function detachFilter(keys: readonly number[], onDetach: () => void): Transform {
  let matched = 0;
  let detached = false;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (detached) {
        done();
        return;
      }
      // The usual case costs one search.
      if (matched === 0 && !chunk.includes(keys[0] ?? -1)) {
        done(null, chunk);
        return;
      }
      const passed: number[] = [];
      for (const byte of chunk) {
        if (byte === keys[matched]) {
          matched += 1;
          if (matched < keys.length) continue;
          detached = true;
          break;
        }
        passed.push(...keys.slice(0, matched));
        matched = byte === keys[0] ? 1 : 0;
        if (matched === 0) passed.push(byte);
      }
      if (passed.length > 0) this.push(Buffer.from(passed));
      done();
      if (detached) onDetach();
    },
    flush(done) {
      if (!detached && matched > 0) this.push(Buffer.from(keys.slice(0, matched)));
      done();
    },
  });
}
