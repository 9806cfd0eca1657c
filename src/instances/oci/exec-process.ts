import type { OpContext } from "../../base/op-context.ts";
import type { Host } from "../../host/host.ts";
import type { ExecRequest } from "../driver.ts";
import { ociErrors } from "./errors.ts";
import { capabilitySets, containerCapabilities } from "./spec/capabilities.ts";
import { processEnvironment } from "./spec/environment.ts";
import type { OciProcess, OciSpec } from "./spec/oci-spec.ts";
import { resolveUser } from "./spec/users.ts";
import { textInRoot } from "./spec-facts.ts";

/** The process of an exec: the container's own, with what the request says. */
export async function execProcess(
  ctx: OpContext,
  host: Host,
  container: OciSpec,
  request: ExecRequest,
): Promise<OciProcess> {
  const own = container.process;
  const { argv, terminal } = request;
  if (argv.length === 0 || argv[0] === "") throw ociErrors.COMMAND_MISSING({});
  const cwd = request.workingDir === "" ? own.cwd : request.workingDir;
  if (!cwd.startsWith("/")) throw ociErrors.WORKING_DIR_INVALID({ path: cwd });
  const who =
    request.user === "" ? { ...own.user, home: variable(own, "HOME") } : await userOf(host, container, request);
  ctx.signal.throwIfAborted();
  const { home, ...user } = who;
  const capabilities = request.privileged
    ? capabilitySets(containerCapabilities({ privileged: true, capAdd: [], capDrop: [] }, host.facts.capabilities))
    : own.capabilities;
  const { consoleSize: _, ...kept } = own;
  return {
    ...kept,
    terminal: request.tty,
    ...(request.tty && terminal !== undefined && terminal.rows > 0
      ? { consoleSize: { height: terminal.rows, width: terminal.columns } }
      : {}),
    user,
    args: argv,
    env: processEnvironment({ env: request.env, hostname: variable(own, "HOSTNAME"), tty: request.tty, home }),
    cwd,
    capabilities,
  };
}

async function userOf(host: Host, container: OciSpec, request: ExecRequest) {
  const [passwd, group] = await Promise.all([
    textInRoot(host, container.root.path, "/etc/passwd"),
    textInRoot(host, container.root.path, "/etc/group"),
  ]);
  return resolveUser({ user: request.user, groupAdd: request.groupAdd, passwd, group });
}

function variable(process: OciProcess, name: string): string {
  const entry = process.env.find((one) => one.startsWith(`${name}=`));
  return entry === undefined ? "" : entry.slice(name.length + 1);
}
