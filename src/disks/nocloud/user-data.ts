/** cloud-init's user-data. Pure. */
import type { CloudInit, CloudUser } from "../../schema/cloud-init.ts";
import { diskErrors } from "../errors.ts";
import { yaml } from "./yaml.ts";

const maxUserDataBytes = 4 * 1024 * 1024;
/** What the first line of user-data can be (cloud-init, "User-data formats"), with the MIME type of such a part. */
const kinds: readonly { readonly start: RegExp; readonly type: string }[] = [
  { start: /^#cloud-config(\s|$)/, type: "text/cloud-config" },
  { start: /^#!/, type: "text/x-shellscript" },
  { start: /^#include(-once)?(\s|$)/, type: "text/x-include-url" },
  { start: /^#cloud-boothook(\s|$)/, type: "text/cloud-boothook" },
  { start: /^## template: *jinja/, type: "text/jinja2" },
];

/** What the machine is told, and the user's own on top of it where both are given. `CLOUD_INIT_INVALID`. */
export function userData(cloudInit: CloudInit): string {
  const ours = `#cloud-config\n${yaml(cloudConfig(cloudInit))}`;
  const own = cloudInit.userData;
  if (own === undefined) return ours;
  const type = checkUserData(own);
  const { userData: _own, ...rest } = cloudInit;
  if (Object.keys(rest).length === 0 || type === undefined) {
    if (type !== undefined || Object.keys(rest).length === 0) return own;
    throw diskErrors.CLOUD_INIT_INVALID({
      reason: "user-data that has parts of its own can't be joined with a user, packages, files or commands",
    });
  }
  return multipart([
    { type: "text/cloud-config", text: ours },
    { type, text: own },
  ]);
}

/** The MIME type of a user's own user-data; undefined for a whole multi-part message. `CLOUD_INIT_INVALID`. */
function checkUserData(text: string): string | undefined {
  const invalid = (reason: string) => diskErrors.CLOUD_INIT_INVALID({ reason });
  if (Buffer.byteLength(text) > maxUserDataBytes) throw invalid(`more than ${maxUserDataBytes} bytes`);
  if (text.includes("\0")) throw invalid("it is not text");
  if (/^(Content-Type: *multipart\/|MIME-Version:)/i.test(text)) return undefined;
  const kind = kinds.find(({ start }) => start.test(text));
  if (kind === undefined) {
    throw invalid("its first line is none that cloud-init knows: #cloud-config, #!/path/of/an/interpreter, #include");
  }
  if (kind.type === "text/cloud-config") checkMapping(text, invalid);
  return kind.type;
}

/** The commonest mistakes; the whole of YAML is cloud-init's to read. */
function checkMapping(text: string, invalid: (reason: string) => Error): void {
  const lines = text.split(/\r?\n/).map((line, index) => ({ line, number: index + 1 }));
  const tab = lines.find(({ line }) => /^ *\t+ *[^\s#]/.test(line));
  if (tab !== undefined) throw invalid(`line ${tab.number} is indented with a tab, which YAML does not allow`);
  const first = lines.find(({ line }) => !/^\s*(#|---|%|$)/.test(line));
  if (first === undefined || first.line.startsWith("{")) return;
  if (!/^("[^"]*"|'[^']*'|[^\s"'[\]{}&*!|>%@`#-][^:#]*|[^\s:]+)\s*:(\s|$)/.test(first.line)) {
    throw invalid(
      `line ${first.number} should be a key of a mapping, and is ${JSON.stringify(first.line.slice(0, 60))}`,
    );
  }
}

function cloudConfig({ user, packages = [], files = [], runCommands = [], timezone }: CloudInit): object {
  return {
    ...(user === undefined ? {} : { users: [account(user)] }),
    ...(packages.length === 0 ? {} : { package_update: true, packages }),
    ...(files.length === 0
      ? {}
      : {
          write_files: files.map(({ path, contents, mode = 0o644, owner = "root:root" }) => ({
            path,
            content: contents,
            encoding: "b64",
            permissions: `0${mode.toString(8)}`,
            owner,
            // A file of a user needs the user, and one in a package's directory the package.
            defer: true,
          })),
        }),
    ...(runCommands.length === 0 ? {} : { runcmd: runCommands }),
    ...(timezone === undefined ? {} : { timezone }),
  };
}

function account({ name, sshKeys = [], passwordHash }: CloudUser): object {
  const access = {
    lock_passwd: passwordHash === undefined,
    ...(passwordHash === undefined ? {} : { hashed_passwd: passwordHash }),
    ...(sshKeys.length === 0 ? {} : { ssh_authorized_keys: sshKeys }),
  };
  if (name === "root") return { name, ...access };
  return { name, gecos: name, shell: "/bin/bash", sudo: "ALL=(ALL) NOPASSWD:ALL", ...access };
}

/** Parts of MIME, each in base64: the texts may have lines of any length. The last one adds to lists of the earlier ones. */
function multipart(parts: readonly { readonly type: string; readonly text: string }[]): string {
  const boundary = "==BERTH-USER-DATA==";
  return [
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    "MIME-Version: 1.0",
    "",
    ...parts.flatMap(({ type, text }) => [
      `--${boundary}`,
      `Content-Type: ${type}; charset="utf-8"`,
      "MIME-Version: 1.0",
      "Content-Transfer-Encoding: base64",
      ...(type === "text/cloud-config" ? ["Merge-Type: list(append)+dict(recurse_array,recurse_str)+str()"] : []),
      "",
      Buffer.from(text)
        .toString("base64")
        .replaceAll(/(.{76})(?=.)/g, "$1\n"),
    ]),
    `--${boundary}--`,
    "",
  ].join("\n");
}
