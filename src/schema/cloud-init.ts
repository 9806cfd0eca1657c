/** What a machine made from a cloud image is told at its first boot. */
import { type Static, Type } from "typebox";

export const CloudUser = Type.Object({
  name: Type.String({ pattern: "^[a-z_][a-z0-9_-]{0,31}$", description: "May become root with sudo" }),
  sshKeys: Type.Optional(Type.Array(Type.String({ pattern: "^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\\n\\r]*)?$" }))),
  passwordHash: Type.Optional(
    Type.String({
      pattern: "^\\$[0-9a-z]+\\$[^:\\s]+$",
      description: "As in /etc/shadow (crypt(5)); without one, none works",
    }),
  ),
});
export type CloudUser = Static<typeof CloudUser>;

export const CloudFile = Type.Object({
  path: Type.String({ pattern: "^/" }),
  contents: Type.String({ description: "Base64" }),
  mode: Type.Optional(Type.Integer({ minimum: 0, maximum: 0o7777 })),
  owner: Type.Optional(Type.String({ pattern: "^[\\w.-]+(:[\\w.-]+)?$" })),
});
export type CloudFile = Static<typeof CloudFile>;

export const CloudInit = Type.Object({
  user: Type.Optional(CloudUser),
  packages: Type.Optional(Type.Array(Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9.+:~=_-]*$" }))),
  files: Type.Optional(Type.Array(CloudFile)),
  runCommands: Type.Optional(
    Type.Array(Type.Array(Type.String(), { minItems: 1 }), {
      description: "Argument vectors, run in order at the first boot",
    }),
  ),
  timezone: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9+_/-]+$" })),
  userData: Type.Optional(
    Type.String({
      description: "Anything else that cloud-init takes (#cloud-config, a script); goes on top of the rest",
    }),
  ),
});
export type CloudInit = Static<typeof CloudInit>;
