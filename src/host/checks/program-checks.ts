import type { OpContext } from "../../base/op-context.ts";
import type { CheckContext, CheckDefinition, Finding } from "../checks.ts";
import { error, ok, warning } from "./finding.ts";

/** Programs that the engine starts, with what it needs them for. */
export const programChecks: readonly CheckDefinition[] = [
  { id: "runtime", title: "OCI runtime", check: checkRuntime },
  program("conmon", "Container monitor", "conmon", "containers can't be started", "error"),
  program("dnsmasq", "DNS server of networks", "dnsmasq-base", "containers can't find each other by name", "error"),
  program("mmdebstrap", "Base images from a mirror", "mmdebstrap", "berth image bootstrap does not work", "warning"),
];

async function checkRuntime(ctx: OpContext, { host }: CheckContext): Promise<Finding> {
  const found: string[] = [];
  for (const name of ["crun", "runc"]) {
    if (host.processes.which(name) !== undefined) found.push(await versionOf(ctx, { host, name }));
  }
  if (found.length === 0) return error("neither crun nor runc is installed", "Install one: apt install runc");
  const onlyCrun = host.processes.which("runc") === undefined;
  if (onlyCrun && host.cgroups.mode === "hybrid") {
    return warning(
      `${found.join("; ")}; crun refuses control groups in hybrid mode`,
      "Install runc as well: apt install runc",
    );
  }
  return ok(found.join("; "));
}

function program(
  name: string,
  title: string,
  debianPackage: string,
  without: string,
  severity: "warning" | "error",
): CheckDefinition {
  return {
    id: name,
    title,
    check: async (ctx, { host }) => {
      if (host.processes.which(name) !== undefined) return ok(await versionOf(ctx, { host, name }));
      const finding = severity === "error" ? error : warning;
      return finding(`${name} is not installed: ${without}`, `Install it: apt install ${debianPackage}`);
    },
  };
}

async function versionOf(
  ctx: OpContext,
  { host, name }: { host: CheckContext["host"]; name: string },
): Promise<string> {
  const { code, stdout } = await host.processes.run(ctx, { argv: [name, "--version"], timeoutMs: 10_000 });
  const line = stdout.split("\n")[0]?.trim() ?? "";
  return code === 0 && line !== "" ? line : name;
}
