import { constants } from "node:os";

/** Whether a signal may be written so: "SIGTERM", "term", "15", "RTMIN+3". */
export function isSignal(text: string): boolean {
  if (/^\d+$/.test(text)) return Number(text) >= 1 && Number(text) <= realtimeMax;
  const name = text.toUpperCase().replace(/^SIG/, "");
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realtime !== null) {
    const [, end, sign, offset = "0"] = realtime;
    if (sign !== undefined && (end === "MIN") !== (sign === "+")) return false;
    return Number(offset) <= realtimeMax - realtimeMin;
  }
  return Object.hasOwn(constants.signals, `SIG${name}`);
}

/** As the C library leaves them to programs. */
const realtimeMin = 34;
const realtimeMax = 64;
