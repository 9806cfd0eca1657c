import { describe, expect, it } from "vitest";
import { containerCapabilities } from "./capabilities.ts";

const available = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
  "NET_ADMIN",
  "SYS_ADMIN",
];
const of = (capAdd: string[], capDrop: string[], privileged = false) =>
  containerCapabilities({ capAdd, capDrop, privileged }, available);

describe("containerCapabilities", () => {
  it("gives Docker's fourteen", () => {
    expect(of([], [])).toHaveLength(14);
    expect(of([], [])).not.toContain("CAP_NET_ADMIN");
  });

  it("adds and drops by name, in either spelling", () => {
    const given = of(["NET_ADMIN", "chown"], ["CAP_MKNOD"]);
    expect(given).toContain("CAP_NET_ADMIN");
    expect(given).not.toContain("CAP_MKNOD");
    expect(given.filter((name) => name === "CAP_CHOWN")).toHaveLength(1);
  });

  it("understands ALL on both sides", () => {
    expect(of([], ["ALL"])).toEqual([]);
    expect(of(["NET_ADMIN"], ["ALL"])).toEqual(["CAP_NET_ADMIN"]);
    expect(of(["ALL"], ["CHOWN"])).toHaveLength(available.length - 1);
  });

  it("gives everything we have to a privileged one, and no more", () => {
    expect(of([], ["ALL"], true)).toHaveLength(available.length);
  });

  it("leaves a default out that we don't have ourselves", () => {
    expect(containerCapabilities({ capAdd: [], capDrop: [], privileged: false }, ["CHOWN"])).toEqual(["CAP_CHOWN"]);
  });

  it("names what it does not know or does not have", () => {
    expect(() => of(["FLY"], [])).toThrow('unknown capability: "CAP_FLY"');
    expect(() => of(["SYS_RESOURCE"], [])).toThrow('not available in the current environment: "CAP_SYS_RESOURCE"');
  });
});
