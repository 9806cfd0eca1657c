/** `--mount=type=ssh`: a socket in the step that leads to the SSH agent of the build's client. */
import { open } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { Reverter } from "../../base/reverter.ts";
import type { MountAttributes, SshMount } from "../../dockerfile/run-mount.ts";
import { chmod, chown, mkdir, rm } from "../../host/files.ts";
import type { Build } from "../build-parts.ts";
import type { ClientSshAgents } from "../build-service.ts";
import { buildErrors } from "../errors.ts";
import { attributeWords } from "./attribute-words.ts";
import { bindOf, type PlannedMount } from "./planned-mount.ts";

export function planSsh(build: Build, mount: SshMount, target: string): PlannedMount {
  const { sshAgents } = build.request;
  if (sshAgents === undefined) throw buildErrors.BUILD_NEEDS_SESSION({ type: "ssh" });
  const words = [`id=${mount.id}`, `target=${target}`, ...attributeWords(mount.attributes)];
  return {
    target,
    comment: `--mount=type=ssh,${words.join(",")}`,
    open: async (ctx, closing) => {
      if (!(await sshAgents.has(ctx, mount.id))) {
        if (mount.required) throw buildErrors.BUILD_SSH_MISSING({ id: mount.id });
        return {};
      }
      const socket = await listenFor(ctx, build, sshAgents, mount, closing);
      return { mounts: [bindOf(socket, target, false)], env: [`SSH_AUTH_SOCK=${target}`] };
    },
  };
}

/** Connections that a step has to its agent at a time. */
const connectionLimit = 64;

async function listenFor(
  ctx: OpContext,
  build: Build,
  agents: ClientSshAgents,
  { id, attributes }: SshMount,
  closing: Reverter,
): Promise<string> {
  const directory = join(build.directory, `ssh-${build.nextSnapshotId()}`);
  await mkdir(directory, { mode: 0o700 });
  closing.add("remove the agent's socket", () => rm(directory, { recursive: true, force: true }));
  const over = new AbortController();
  const stepContext = { ...ctx, signal: AbortSignal.any([ctx.signal, over.signal]) };
  const connections = new Set<Socket>();
  // Half-open: an agent's last answer may come behind its client's last word.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
    socket.on("error", () => socket.destroy());
    agents.connect(stepContext, id, socket).catch((error: unknown) => {
      ctx.log.debug({ error: messageOf(error) }, "a connection to the client's SSH agent broke off");
      socket.destroy();
    });
  });
  server.maxConnections = connectionLimit;
  const socket = join(directory, "agent");
  await listenIn(server, directory, closing);
  closing.add("close the agent's socket", async () => {
    over.abort();
    for (const each of connections) each.destroy();
    await new Promise<void>((resolve) => void server.close(() => resolve()));
  });
  await giveAttributes(socket, attributes);
  return socket;
}

/** By way of a descriptor: a socket's address has room for 107 bytes, and a data root may be deep. The server unlinks it by that name. */
async function listenIn(server: Server, directory: string, closing: Reverter): Promise<void> {
  const handle = await open(directory, "r");
  closing.add("close the agent's directory", () => handle.close());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(`/proc/self/fd/${handle.fd}/agent`, resolve);
  await promise;
}

async function giveAttributes(socket: string, { mode = 0o600, uid, gid }: MountAttributes): Promise<void> {
  if (uid !== undefined || gid !== undefined) await chown(socket, uid ?? 0, gid ?? 0);
  await chmod(socket, mode & 0o777);
}
