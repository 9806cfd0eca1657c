import type { RegistryAuth } from "../../../images/image-service.ts";

/**
 * The credentials in an `X-Registry-Auth` header: base64url (or plain base64) of JSON. One that can't be read is no
 * credential, as in Docker: the registry then says what is missing.
 */
export function decodeRegistryAuth(header: string | readonly string[] | undefined): RegistryAuth | undefined {
  const value = typeof header === "object" ? header[0] : header;
  if (value === undefined || value === "") return undefined;
  const auth = registryAuth(decodeJson(value));
  return Object.keys(auth).length === 0 ? undefined : auth;
}

/** `X-Registry-Config` of a build: credentials by registry host. */
export function decodeRegistryConfig(
  header: string | readonly string[] | undefined,
): Readonly<Record<string, RegistryAuth>> {
  const value = typeof header === "object" ? header[0] : header;
  if (value === undefined || value === "") return {};
  const decoded = decodeJson(value);
  if (typeof decoded !== "object" || decoded === null) return {};
  return Object.fromEntries(
    Object.entries<unknown>({ ...decoded }).map(([host, auth]) => [hostOf(host), registryAuth(auth)]),
  );
}

/** Docker's AuthConfig, from a header or a body. */
export function registryAuth(value: unknown): RegistryAuth {
  if (typeof value !== "object" || value === null) return {};
  const fields = new Map<string, unknown>(Object.entries(value));
  const text = (name: string) => {
    const field = fields.get(name);
    return typeof field === "string" && field !== "" ? field : undefined;
  };
  // The `auth` field is "user:password" in base64, as Docker's configuration file has it.
  const [user, ...password] = Buffer.from(text("auth") ?? "", "base64")
    .toString("utf8")
    .split(":");
  const username = text("username") ?? (user === "" ? undefined : user);
  const secret = text("password") ?? (password.length === 0 ? undefined : password.join(":"));
  const identityToken = text("identitytoken");
  const registryToken = text("registrytoken");
  const serverAddress = text("serveraddress");
  return {
    ...(username === undefined ? {} : { username }),
    ...(secret === undefined ? {} : { password: secret }),
    ...(identityToken === undefined ? {} : { identityToken }),
    ...(registryToken === undefined ? {} : { registryToken }),
    ...(serverAddress === undefined ? {} : { serverAddress }),
  };
}

/** "https://registry.example/v1/" and "registry.example" are the same registry. Docker Hub keeps its historical key. */
function hostOf(key: string): string {
  const host = key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === "index.docker.io" || host === "registry-1.docker.io" ? "docker.io" : host;
}

function decodeJson(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, "base64").toString("utf8"));
  } catch {
    return undefined;
  }
}
