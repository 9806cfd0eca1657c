import { describe, expect, it } from "vitest";
import type { Field } from "../../guest/frames.ts";
import { type TemplateGround, templateKey, templateShape } from "./template-key.ts";

const ground: TemplateGround = { owner: "0", qemu: "q", vmm: "v", kit: "k", image: "i", processor: "" };
const fields: readonly Field[] = [
  ["accel", "tcg"],
  ["memory", "512"],
  ["cpus", "1"],
  ["kernel", "/berth/kernel"],
  ["image", "/berth/image"],
  ["scratch", "/berth/scratch"],
  ["run", "/berth/run"],
  ["net", "eth0"],
  ["mount.shm", "1"],
  ["configure.hostname", "web1"],
  ["configure.tmpfs", "/tmp\n"],
  ["configure.file", "/etc/hosts\n127.0.0.1 web1"],
  ["run.arg", "true"],
  ["run.masked", "/proc/kcore"],
];
const key = templateKey(fields, ground);
const withField = (...field: Field) => {
  const isNew = !fields.some(([name]) => name === field[0]);
  return templateKey(isNew ? [...fields, field] : fields.map((own) => (own[0] === field[0] ? field : own)), ground);
};

describe("a template fits", () => {
  it("whoever the machine is, and whatever it runs", () => {
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(withField("configure.hostname", "web2")).toBe(key);
    expect(withField("run.arg", "false")).toBe(key);
    expect(withField("net", "eth1")).toBe(key);
    expect(withField("configure.file", "/etc/hosts\n127.0.0.1 web2")).toBe(key);
  });

  it.each<Field>([
    ["memory", "256"],
    ["cpus", "2"],
    ["spare", "1"],
    ["accel", "kvm"],
    ["mount.shm", "2"],
    ["mount.readonly", "1"],
    ["run.masked", "/proc/keys"],
    ["configure.file", "/etc/resolv.conf\n"],
  ])("no machine with %s=%s", (name, value) => {
    expect(withField(name, value)).not.toBe(key);
  });

  it("as many networks as it was made with", () => {
    expect(templateKey([...fields, ["net", "eth1"]], ground)).not.toBe(key);
    expect(templateShape(fields)).toContainEqual(["net", "-"]);
    expect(templateShape(fields)).toContainEqual(["configure.file", "/etc/hosts\n"]);
    expect(templateShape(fields)).toContainEqual(["prepare.masked", "/proc/kcore"]);
  });

  it.each(Object.keys(ground))("the %s that it was made with", (name) => {
    expect(templateKey(fields, { ...ground, [name]: "another" })).not.toBe(key);
  });

  it.each<Field>([
    ["configure.share", "tag\n/data\n"],
    ["device", "-device\nvhost-user-fs-pci"],
    ["something.new", "1"],
  ])("no machine with something that no template has: %s", (name, value) => {
    expect(withField(name, value)).toBeUndefined();
  });
});
