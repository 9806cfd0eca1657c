import { defineErrors } from "../base/errors.ts";

export const clientErrors = defineErrors({
  HOST_INVALID: {
    status: 400,
    message: ({ host }: { host: string }) => `invalid engine address "${host}"`,
    hint: () => "use unix:///path/to.sock or tcp://host:port, with -H or BERTH_HOST",
  },
  ENGINE_UNREACHABLE: {
    status: 503,
    message: ({ host, reason }: { host: string; reason: string }) =>
      `Cannot connect to the Berth engine at ${host}: ${reason}`,
    hint: ({ host }) =>
      `Is it running? 'npm start' or 'berth daemon -H ${host}' starts it; -H or BERTH_HOST names another`,
  },
  ANSWER_UNREADABLE: {
    status: 502,
    message: ({ what, reason }: { what: string; reason: string }) =>
      `the engine's answer to ${what} can't be read: ${reason}`,
    hint: () => "is it a Berth or Docker engine that listens there?",
  },
});
