/** A real registry on loopback: docker-registry (distribution) with a configuration and a root of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface RegistryProcess extends AsyncDisposable {
  /** "127.0.0.1:PORT". */
  readonly host: string;
  readonly port: number;
  /** Its storage. */
  readonly root: string;
}

export interface RegistryOptions {
  /** Lines of the configuration's `auth:` section, indented by two. */
  readonly auth?: string;
  /** Written beside the configuration; `{dir}` in `auth` names the directory. */
  readonly files?: Readonly<Record<string, string>>;
  /** Serve at this port. */
  readonly port?: number;
}

export async function startRegistry(options: RegistryOptions = {}): Promise<RegistryProcess> {
  const root = await mkdtemp(join(tmpdir(), "berth-registry-"));
  const port = options.port ?? (await freePort());
  for (const [name, text] of Object.entries(options.files ?? {})) await writeFile(join(root, name), text);
  const auth = options.auth === undefined ? "" : `auth:\n${options.auth.replaceAll("{dir}", root)}\n`;
  const config = join(root, "config.yml");
  await writeFile(
    config,
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${root}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:${port}\n  secret: test\n${auth}`,
  );
  const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const stop = async () => {
    await endProcess(child);
    await rm(root, { recursive: true, force: true });
  };
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) {
      await stop();
      throw new Error(`docker-registry ended: ${stderr}`);
    }
    try {
      await fetch(`http://127.0.0.1:${port}/v2/`);
      return { host: `127.0.0.1:${port}`, port, root, [Symbol.asyncDispose]: stop };
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await stop();
  throw new Error(`docker-registry does not answer: ${stderr}`);
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** `auth` and `files` for a registry that asks for a password: bob's is "s3cret". */
export const passwordProtected: RegistryOptions = {
  auth: "  htpasswd:\n    realm: test\n    path: {dir}/htpasswd",
  files: { htpasswd: "bob:$2b$04$pzsXL3Z7x3Bp36ar5aX/Fe8oFVlHw9t7Od2YHSTfia8g5gRMjaIdi\n" },
};
