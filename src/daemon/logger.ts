import { pino } from "pino";
import type { Logger } from "../base/logger.ts";

/** JSON lines on stderr, credentials left out. */
export function createLogger(level: "debug" | "info" | "warn" | "error"): Logger {
  const redact = [
    "auth",
    "password",
    "identityToken",
    "registryToken",
    "*.password",
    "*.identityToken",
    "*.registryToken",
  ];
  return adapt(pino({ level, redact }, pino.destination({ fd: 2, sync: true })));
}

function adapt(target: pino.Logger): Logger {
  return {
    debug: (fields, message) => target.debug(fields, message),
    info: (fields, message) => target.info(fields, message),
    warn: (fields, message) => target.warn(fields, message),
    error: (fields, message) => target.error(fields, message),
    child: (fields) => adapt(target.child(fields)),
  };
}
