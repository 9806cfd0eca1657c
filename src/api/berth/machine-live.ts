/** What can be done to machines that run, and what is kept of them. */
import { Type } from "typebox";
import {
  CreateSnapshotBody,
  MachineSnapshot,
  PressKeysBody,
  RevertSnapshotBody,
  SaveMachineBody,
  SnapshotList,
} from "../../schema/machine-live-api.ts";
import { noContent, ok, type Route, route, streamed } from "../docker/route.ts";

const machine = "/berth/v1/machines/{id}";
const SnapshotQuery = Type.Object({
  snapshot: Type.String({ minLength: 1, description: "Name or id of the snapshot" }),
});

export const liveMachineRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: `${machine}/snapshots`,
    summary: "A machine's snapshots, the oldest first",
    answer: SnapshotList,
    handle: async ({ backend, ctx, name }) => ok({ snapshots: await backend.machines.live.listSnapshots(ctx, name) }),
  }),
  route({
    method: "POST",
    path: `${machine}/snapshots`,
    summary: "Make a snapshot: disks, and with memory where it runs",
    body: CreateSnapshotBody,
    bodyOptional: true,
    answer: MachineSnapshot,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => ok(await backend.machines.live.createSnapshot(ctx, name, body)),
  }),
  route({
    method: "POST",
    path: `${machine}/snapshots/revert`,
    summary: "Put a machine back to a snapshot; with memory it goes on from there",
    query: SnapshotQuery,
    body: RevertSnapshotBody,
    bodyOptional: true,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query, body }) => {
      await backend.machines.live.revertToSnapshot(ctx, name, query.snapshot, body);
      return noContent;
    },
  }),
  route({
    method: "DELETE",
    path: `${machine}/snapshots`,
    summary: "Remove a snapshot; those that came of it stay",
    query: SnapshotQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.machines.live.removeSnapshot(ctx, name, query.snapshot);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/save`,
    summary: "Switch it off with its memory kept: the next start goes on where it is",
    body: SaveMachineBody,
    bodyOptional: true,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => {
      const { live } = backend.machines;
      await (body.discard === true ? live.discardSaved(ctx, name) : live.save(ctx, name));
      return noContent;
    },
  }),
  route({
    method: "GET",
    path: `${machine}/screenshot`,
    summary: "What is on its screen, as a PNG",
    handle: async ({ backend, ctx, name, reply }) => {
      const png = await backend.machines.live.screenshot(ctx, name);
      await reply.header("Content-Type", "image/png").send(png);
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/keys`,
    summary: "Press keys of its keyboard",
    body: PressKeysBody,
    handle: async ({ backend, ctx, name, body }) => {
      await backend.machines.live.typeKeys(ctx, name, body);
      return noContent;
    },
  }),
];
