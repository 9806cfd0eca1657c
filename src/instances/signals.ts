import { constants } from "node:os";

/** Linux's real-time signals are 34 (SIGRTMIN, after the C library's own two) to 64 (SIGRTMAX). */
const realTimeMin = 34;
const realTimeMax = 64;

/** Number of "SIGTERM", "term", "15", "SIGRTMIN+3" or "RTMAX-1"; undefined when there is no such signal. */
export function signalNumber(word: string): number | undefined {
  if (/^\d+$/.test(word)) {
    const number = Number(word);
    return number >= 1 && number <= realTimeMax ? number : undefined;
  }
  const name = word.toUpperCase().replace(/^SIG/, "");
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime !== null) return realTimeNumber(realTime[1] === "MIN", realTime[2], Number(realTime[3] ?? 0));
  return byName.get(name);
}

function realTimeNumber(fromMin: boolean, sign: string | undefined, offset: number): number | undefined {
  if (sign !== undefined && (sign === "+") !== fromMin) return undefined;
  const number = fromMin ? realTimeMin + offset : realTimeMax - offset;
  return number >= realTimeMin && number <= realTimeMax ? number : undefined;
}

const byName = new Map<string, number>(
  Object.entries(constants.signals).map(([name, number]) => [name.slice(3), number]),
);

export const SIGTERM = 15;
export const SIGKILL = 9;
