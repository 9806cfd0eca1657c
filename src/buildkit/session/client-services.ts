import type { BuildRequest } from "../../build/build-service.ts";
import { registryCredentials } from "./credentials.ts";
import { clientSecrets } from "./secrets.ts";
import type { ClientSession } from "./sessions.ts";
import { clientSshAgents } from "./ssh-agents.ts";

/** What a build may ask of its client. */
export function clientServices(session: ClientSession): Pick<BuildRequest, "askAuth" | "secrets" | "sshAgents"> {
  return {
    askAuth: (ctx, domain) => registryCredentials(ctx, session, domain),
    secrets: clientSecrets(session),
    sshAgents: clientSshAgents(session),
  };
}
