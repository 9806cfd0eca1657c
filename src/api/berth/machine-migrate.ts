/** Running machines from one engine to another: what a client asks for, and what the engines say to each other. */
import { join } from "../../machines/migrate/relay.ts";
import {
  ArrivalReady,
  ArrivalState,
  MachineTransfer,
  MigrateMachineBody,
  MigrationReport,
  TransferChannelQuery,
} from "../../schema/machine-migrate-api.ts";
import { noContent, ok, type Route, route, streamed } from "../docker/route.ts";
import { takeUpgradeSocket } from "../docker/streams/connection.ts";
import { streamProgress } from "../docker/streams/json-stream.ts";

const arrival = "/berth/v1/migrations/{id}";

export const machineMigrateRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/berth/v1/machines/{id}/migrate",
    summary:
      "Move a running machine to another engine; answers progress, and the report as the last message's `aux`. A client that leaves calls it off",
    body: MigrateMachineBody,
    answer: MigrationReport,
    handle: async (call) => {
      const { backend, ctx, name, body } = call;
      await streamProgress(call, async (progress) => {
        progress({ aux: await backend.machines.migrate(ctx, name, body, progress) });
      });
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/berth/v1/migrations",
    summary:
      "Of an engine: have a machine made for what will come of it; the first message's `aux` says that it waits, and the answer ends when it runs here. Left before, nothing of it stays",
    body: MachineTransfer,
    answer: ArrivalReady,
    handle: async (call) => {
      const { backend, ctx, body } = call;
      await streamProgress(call, async (progress) => {
        await backend.machines.arrivals.receive(ctx, body, (ready) => progress({ aux: ready }));
      });
      return streamed;
    },
  }),
  route({
    method: "GET",
    path: arrival,
    summary: "Of an engine: whether a machine waits for more, or runs here",
    answer: ArrivalState,
    handle: ({ backend, name }) => ok({ state: backend.machines.arrivals.state(name) }),
  }),
  route({
    method: "DELETE",
    path: arrival,
    summary: "Of an engine: call it off",
    outlivesClient: true,
    handle: async ({ backend, name }) => {
      await backend.machines.arrivals.cancel(name);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${arrival}/stream`,
    summary:
      "Of an engine: a raw connection to what waits for a machine's disks (NBD) or memory; with `Upgrade: berth-migration`",
    query: TransferChannelQuery,
    handle: async (call) => {
      const { backend, ctx, name, query } = call;
      const there = await backend.machines.arrivals.connect(ctx, name, query.channel);
      try {
        const { socket } = takeUpgradeSocket(call);
        socket.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: berth-migration\r\n\r\n");
        join(socket, there);
      } catch (error) {
        there.destroy();
        throw error;
      }
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: `${arrival}/finish`,
    summary: "Of an engine: all of it is here, let it run",
    outlivesClient: true,
    handle: async ({ backend, ctx, name }) => {
      await backend.machines.arrivals.finish(ctx, name);
      return noContent;
    },
  }),
];
