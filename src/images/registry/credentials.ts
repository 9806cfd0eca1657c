import { readFile } from "node:fs/promises";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { Processes } from "../../host/host.ts";
import { isRecord, parseJson } from "../documents.ts";
import { imageErrors } from "../errors.ts";
import type { RegistryAuth } from "../image-service.ts";
import { credentialKey } from "./endpoints.ts";

/** Who we are to a registry ("docker.io", "localhost:5000"); undefined is nobody. */
export type CredentialSource = (ctx: OpContext, domain: string) => Promise<RegistryAuth | undefined>;

/** What helpers say when they have nothing; that is no error. */
const NOT_FOUND = "credentials not found in native keychain";
/** A user name that marks the secret as an identity token. */
const TOKEN_USER = "<token>";

/**
 * Credentials as the docker client keeps them: `auths` of its config.json, `credHelpers` and `credsStore` by their
 * `docker-credential-NAME` programs. Read anew each time: `docker login` takes effect at once.
 */
export function dockerConfigCredentials(processes: Pick<Processes, "run">, configPath: string): CredentialSource {
  return async (ctx, domain) => {
    const config = await readConfig(configPath);
    if (config === undefined) return undefined;
    const key = credentialKey(domain);
    const helpers = isRecord(config["credHelpers"]) ? config["credHelpers"] : {};
    const helper = [helpers[domain], helpers[key], config["credsStore"]].find(isText);
    if (helper !== undefined) {
      const found = await askHelper(ctx, processes, helper, key);
      if (found !== undefined) return found;
    }
    return fromAuths(config["auths"], domain, configPath);
  };
}

async function readConfig(path: string): Promise<Record<string, unknown> | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw imageErrors.CREDENTIALS_INVALID({ path, reason: messageOf(error) }, { cause: error });
  }
  const json = parseJson(bytes, `credentials file ${path}`);
  if (isRecord(json)) return json;
  throw imageErrors.CREDENTIALS_INVALID({ path, reason: "it is not a JSON object" });
}

async function askHelper(
  ctx: OpContext,
  processes: Pick<Processes, "run">,
  name: string,
  key: string,
): Promise<RegistryAuth | undefined> {
  const helper = `docker-credential-${name}`;
  if (!/^[\w.-]+$/.test(name)) throw imageErrors.CREDENTIAL_HELPER_FAILED({ helper, reason: "not a program's name" });
  const env: Record<string, string> = {};
  // Helpers find the user's keychain, session bus and configuration through these.
  for (const variable of [
    "HOME",
    "PATH",
    "USER",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "DISPLAY",
  ]) {
    const value = process.env[variable];
    if (value !== undefined) env[variable] = value;
  }
  const result = await processes.run(ctx, { argv: [helper, "get"], env, input: key });
  if (result.code !== 0) {
    const said = (result.stdout || result.stderr).trim();
    if (said.includes(NOT_FOUND)) return undefined;
    throw imageErrors.CREDENTIAL_HELPER_FAILED({ helper, reason: said || `it ended with status ${result.code}` });
  }
  const answer = parseJson(Buffer.from(result.stdout), `answer of ${helper}`);
  const username = isRecord(answer) ? answer["Username"] : undefined;
  const secret = isRecord(answer) ? answer["Secret"] : undefined;
  if (!isText(username) || !isText(secret)) {
    throw imageErrors.CREDENTIAL_HELPER_FAILED({ helper, reason: "its answer has no Username and Secret" });
  }
  return username === TOKEN_USER ? { identityToken: secret } : { username, password: secret };
}

function fromAuths(auths: unknown, domain: string, path: string): RegistryAuth | undefined {
  if (!isRecord(auths)) return undefined;
  const wanted = hostOf(credentialKey(domain));
  const entry = auths[credentialKey(domain)] ?? Object.entries(auths).find(([key]) => hostOf(key) === wanted)?.[1];
  if (!isRecord(entry)) return undefined;
  if (isText(entry["identitytoken"])) return { identityToken: entry["identitytoken"] };
  if (isText(entry["registrytoken"])) return { registryToken: entry["registrytoken"] };
  if (isText(entry["username"]) && isText(entry["password"])) {
    return { username: entry["username"], password: entry["password"] };
  }
  if (!isText(entry["auth"])) return undefined;
  const decoded = Buffer.from(entry["auth"], "base64").toString("utf8").replace(/\0+$/, "");
  const colon = decoded.indexOf(":");
  if (colon === -1)
    throw imageErrors.CREDENTIALS_INVALID({ path, reason: `the auth of ${domain} is not user:password` });
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/** "https://index.docker.io/v1/" and "index.docker.io" are the same registry. */
function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
