import { rename, rm, writeFile } from "./files.ts";

/** Writes a small file so that it is there whole or as it was: a failure leaves no draft, a kill `<path>.draft`. */
export async function publishText(path: string, text: string): Promise<void> {
  const draft = `${path}.draft`;
  try {
    await writeFile(draft, text, { mode: 0o600 });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
