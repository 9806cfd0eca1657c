/** The seed as others read it: libblkid for the label, genisoimage's isoinfo for the files. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { nocloudSeed } from "../../../src/disks/nocloud/seed.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-seed-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("a label that cloud-init looks for, and files under their names", () => {
  const file = join(directory, "seed.iso");
  const userData = `#!/bin/sh\n${"# a script of more than one sector\n".repeat(100)}`;
  const nics = [{ mac: "52:54:00:00:00:01" }];
  const date = new Date("2026-01-02T03:04:05Z");
  writeFileSync(file, nocloudSeed({ instanceId: "i-1", hostname: "web1", cloudInit: { userData }, nics, date }));

  const run = (program: string, ...words: string[]) => execFileSync(program, words, { encoding: "utf8" });
  const blkid = run("blkid", "-p", "-o", "export", file);
  expect(blkid).toMatch(/^LABEL=cidata$/m);
  expect(blkid).toMatch(/^TYPE=iso9660$/m);
  const isoinfo = (...words: string[]) => run("isoinfo", "-J", "-i", file, ...words);
  expect(isoinfo("-f").trim().split("\n").sort()).toEqual(["/meta-data", "/network-config", "/user-data"]);
  expect(isoinfo("-x", "/user-data")).toBe(userData);
  expect(JSON.parse(isoinfo("-x", "/meta-data"))).toEqual({ "instance-id": "i-1", "local-hostname": "web1" });
  expect(JSON.parse(isoinfo("-x", "/network-config"))).toMatchObject({ version: 2 });
});
