import type { OpContext } from "../../base/op-context.ts";
import type { RegistryAuth } from "../../images/image-service.ts";
import { CredentialsRequest, CredentialsResponse } from "../wire/session.ts";
import type { ClientSession } from "./sessions.ts";

const method = "/moby.filesync.v1.Auth/Credentials";

/** What the client's configuration has for a registry; undefined for nothing. */
export async function registryCredentials(
  ctx: OpContext,
  session: ClientSession,
  domain: string,
): Promise<RegistryAuth | undefined> {
  if (!session.supports(method)) return undefined;
  const host = domain === "docker.io" ? "registry-1.docker.io" : domain;
  const codecs = [CredentialsRequest, CredentialsResponse] as const;
  const { Username, Secret } = await session.client.unary(ctx, method, codecs, { Host: host });
  if (Secret === "") return undefined;
  // A secret without a name is an identity token.
  return Username === ""
    ? { identityToken: Secret, serverAddress: domain }
    : { username: Username, password: Secret, serverAddress: domain };
}
