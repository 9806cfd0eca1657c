/** `--ssh`: agents that the client has, or plays for keys that it was given. */
import type { Duplex } from "node:stream";
import type { ClientSshAgents } from "../../build/build-service.ts";
import { type GrpcStream, refusalOf } from "../grpc/client.ts";
import { BytesMessage, CheckAgentRequest, CheckAgentResponse } from "../wire/session.ts";
import type { Decoded } from "../wire/message.ts";
import { drained } from "../grpc/drained.ts";
import type { ClientSession } from "./sessions.ts";

const checkMethod = "/moby.sshforward.v1.SSH/CheckAgent";
const forwardMethod = "/moby.sshforward.v1.SSH/ForwardAgent";

export function clientSshAgents(session: ClientSession): ClientSshAgents {
  return {
    has: async (ctx, id) => {
      if (!session.supports(checkMethod)) return false;
      try {
        await session.client.unary(ctx, checkMethod, [CheckAgentRequest, CheckAgentResponse], { ID: id });
        return true;
      } catch (error) {
        // It has no code of its own for "there is none".
        if (refusalOf(error) !== undefined) return false;
        throw error;
      }
    },
    connect: async (ctx, id, connection) => {
      const metadata = { "buildkit.ssh.id": [id] };
      await using stream = session.client.stream(ctx, forwardMethod, [BytesMessage, BytesMessage], metadata);
      const asking = ask(stream, connection);
      try {
        for await (const { data } of stream.messages) if (!connection.write(data)) await drained(connection);
        connection.end(() => connection.destroy());
      } catch (error) {
        connection.destroy();
        throw error;
      } finally {
        await asking;
      }
    },
  };
}

/** What the step says, up to its last word; a step that breaks off has said it. */
async function ask(stream: GrpcStream<Decoded<typeof BytesMessage>, unknown>, connection: Duplex): Promise<void> {
  try {
    for await (const data of connection) await stream.send({ data });
  } catch {
    // The other direction tells why.
  } finally {
    stream.end();
  }
}
