import { expect, test } from "vitest";
import { guestTable } from "./guest-top.ts";

const processes = [{ pid: 1, ppid: 0, uid: 33, cpuSeconds: 3725, command: "/usr/sbin/nginx -g daemon off;" }];

test("the usual columns", () => {
  expect(guestTable(processes, "")).toEqual({
    titles: ["UID", "PID", "PPID", "TIME", "CMD"],
    rows: [["33", "1", "0", "01:02:05", "/usr/sbin/nginx -g daemon off;"]],
  });
  expect(guestTable(processes, "-ef")).toEqual(guestTable(processes, ""));
});

test("those that were asked for, with titles of their own", () => {
  expect(guestTable(processes, "-o pid,comm")).toEqual({ titles: ["PID", "COMMAND"], rows: [["1", "nginx"]] });
  expect(guestTable(processes, "-opid,user=WHO")).toEqual({ titles: ["PID", "WHO"], rows: [["1", "33"]] });
});

test("a table without pids is an error as for containers; what only a ps can do is not there", () => {
  expect(() => guestTable(processes, "-o comm")).toThrow("Couldn't find PID field in ps output");
  expect(guestTable(processes, "aux")).toBeUndefined();
  expect(guestTable(processes, "-o pid,stime")).toBeUndefined();
});
