/** Whole-OS machines. Console, logs, commands and files are those of Docker's API: a machine is one of its containers, too. */
import {
  CreateMachineBody,
  GuestAddresses,
  MachineList,
  MachineView,
  RemoveMachineQuery,
  RenameMachineBody,
  StopMachineAnswer,
  StopMachineBody,
} from "../../schema/machine-api.ts";
import { noContent, notModified, ok, type Route, route, streamed } from "../docker/route.ts";
import { machineExchangeRoutes } from "./machine-exchange.ts";
import { liveMachineRoutes } from "./machine-live.ts";
import { machineMigrateRoutes } from "./machine-migrate.ts";
import { streamProgress } from "../docker/streams/json-stream.ts";

const machine = "/berth/v1/machines/{id}";

export const machineRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/berth/v1/machines",
    summary: "All machines, newest first",
    answer: MachineList,
    handle: ({ backend: { machines } }) => ok({ machines: machines.list().map((record) => machines.view(record)) }),
  }),
  route({
    method: "POST",
    path: "/berth/v1/machines",
    summary: "Make a machine; answers progress as a pull does, and the machine as the last message's `aux`",
    body: CreateMachineBody,
    answer: MachineView,
    handle: async (call) => {
      const { backend, ctx, body } = call;
      await streamProgress(call, async (progress) => {
        progress({ aux: backend.machines.view(await backend.machines.create(ctx, body, progress)) });
      });
      return streamed;
    },
  }),
  route({
    method: "GET",
    path: machine,
    summary: "One machine",
    answer: MachineView,
    handle: ({ backend: { machines }, name }) => ok(machines.view(machines.resolve(name))),
  }),
  route({
    method: "DELETE",
    path: machine,
    summary: "Remove a machine with its disks",
    query: RemoveMachineQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.machines.remove(ctx, name, { force: query.force });
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/start`,
    summary: "Switch it on; 304 when it runs already",
    outlivesClient: true,
    handle: async ({ backend, ctx, name }) =>
      (await backend.machines.start(ctx, name)).started ? noContent : notModified,
  }),
  route({
    method: "POST",
    path: `${machine}/stop`,
    summary: "Press the power button (ACPI), and pull the plug when the guest has not powered off in time",
    body: StopMachineBody,
    bodyOptional: true,
    answer: StopMachineAnswer,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => ok(await backend.machines.stop(ctx, name, body)),
  }),
  route({
    method: "POST",
    path: `${machine}/reset`,
    summary: "Press the reset button: the guest boots anew, at once",
    handle: async ({ backend, ctx, name }) => {
      await backend.machines.reset(ctx, name);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: `${machine}/rename`,
    summary: "Rename it",
    body: RenameMachineBody,
    handle: async ({ backend, ctx, name, body }) => {
      await backend.machines.rename(ctx, name, body.name);
      return noContent;
    },
  }),
  route({
    method: "GET",
    path: `${machine}/addresses`,
    summary: "Network addresses, as the agent in the guest says, or as its networks assign them",
    answer: GuestAddresses,
    handle: async ({ backend, ctx, name }) => ok(await backend.machines.addresses(ctx, name)),
  }),
  ...machineExchangeRoutes,
  ...liveMachineRoutes,
  ...machineMigrateRoutes,
];
