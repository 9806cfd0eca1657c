import { expect, it } from "vitest";
import { processEnvironment } from "./environment.ts";

const base = { env: [], hostname: "box", tty: false, home: "/root" };
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

it("has Docker's defaults", () => {
  expect(processEnvironment(base)).toEqual([path, "HOSTNAME=box", "HOME=/root"]);
});

it("has TERM with a terminal only", () => {
  expect(processEnvironment({ ...base, tty: true })).toEqual([path, "HOSTNAME=box", "TERM=xterm", "HOME=/root"]);
});

it("lets own variables take a default's place, and keeps their order", () => {
  expect(processEnvironment({ ...base, env: ["B=1", "PATH=/bin", "HOME=/home/me", "A=x=y", "B=2"] })).toEqual([
    "PATH=/bin",
    "HOSTNAME=box",
    "B=2",
    "HOME=/home/me",
    "A=x=y",
  ]);
});

it("takes a default away that is named without a value", () => {
  expect(processEnvironment({ ...base, env: ["HOSTNAME"] })).toEqual([path, "HOME=/root"]);
});
