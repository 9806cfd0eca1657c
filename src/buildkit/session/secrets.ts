/** `--secret`: values that the client answers by name. */
import type { OpContext } from "../../base/op-context.ts";
import type { ClientSecrets } from "../../build/build-service.ts";
import { refusalOf } from "../grpc/client.ts";
import { statusCode } from "../grpc/status.ts";
import { GetSecretRequest, GetSecretResponse } from "../wire/session.ts";
import type { ClientSession } from "./sessions.ts";

const method = "/moby.buildkit.secrets.v1.Secrets/GetSecret";

export function clientSecrets(session: ClientSession): ClientSecrets {
  return {
    get: async (ctx: OpContext, id: string) => {
      if (!session.supports(method)) return undefined;
      try {
        return (await session.client.unary(ctx, method, [GetSecretRequest, GetSecretResponse], { ID: id })).data;
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal === statusCode.notFound || refusal === statusCode.unimplemented) return undefined;
        throw error;
      }
    },
  };
}
