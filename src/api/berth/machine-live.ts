/** What can be done to machines that run, and what is kept of them. */
import { Type } from "typebox";
import { MachineNic } from "../../schema/machine.ts";
import { MachineView } from "../../schema/machine-api.ts";
import {
  AttachDiskBody,
  AttachNicBody,
  BackUpMachineBody,
  BackupReport,
  BootOrderBody,
  ChangeReport,
  CloneMachineBody,
  CreateSnapshotBody,
  DetachDiskQuery,
  DetachNicQuery,
  MachineSnapshot,
  MediumBody,
  PressKeysBody,
  ResizeMachineBody,
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
  route({
    method: "POST",
    path: `${machine}/disks`,
    summary: "Attach a disk, at once where it runs: a blank one, a copy of a file, or one that was detached",
    body: AttachDiskBody,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => {
      await backend.machines.live.attachDisk(ctx, name, body);
      return noContent;
    },
  }),
  route({
    method: "DELETE",
    path: `${machine}/disks`,
    summary: "Detach a disk, once the guest has let go of it",
    query: DetachDiskQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.machines.live.detachDisk(ctx, name, query.disk, { delete: query.delete });
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/nics`,
    summary: "Attach a network card, at once where it runs",
    body: AttachNicBody,
    answer: MachineNic,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => ok(await backend.machines.live.attachNic(ctx, name, body)),
  }),
  route({
    method: "DELETE",
    path: `${machine}/nics`,
    summary: "Detach a network card, once the guest has let go of it",
    query: DetachNicQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.machines.live.detachNic(ctx, name, query.nic);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/medium`,
    summary: "Put an ISO into a drive, or take out what is in it",
    body: MediumBody,
    bodyOptional: true,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => {
      await backend.machines.live.changeMedium(ctx, name, body);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/boot`,
    summary: "Set what its firmware tries to boot from, from the next start on",
    body: BootOrderBody,
    handle: async ({ backend, ctx, name, body }) => {
      await backend.machines.live.setBootOrder(ctx, name, body.order);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/resize`,
    summary: "Change its processors, memory and disks; says of each whether it is so now or at the next start",
    body: ResizeMachineBody,
    answer: ChangeReport,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => ok(await backend.machines.live.resize(ctx, name, body)),
  }),
  route({
    method: "POST",
    path: `${machine}/clone`,
    summary: "Make a machine like it, with whole copies of its disks or on disks that both share",
    body: CloneMachineBody,
    answer: MachineView,
    handle: async ({ backend, ctx, name, body }) =>
      ok(backend.machines.view(await backend.machines.live.clone(ctx, name, body))),
  }),
  route({
    method: "POST",
    path: `${machine}/backup`,
    summary: "Copy its disks, of one moment and whole, into a directory of the engine's host, while it runs",
    body: BackUpMachineBody,
    answer: BackupReport,
    handle: async ({ backend, ctx, name, body }) => ok(await backend.machines.live.backUp(ctx, name, body.directory)),
  }),
];
