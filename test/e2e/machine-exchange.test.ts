/** Machines as files: out of one engine and in again, seen by others on the way. No guest has to boot for it. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { MachinesClient } from "../../src/client/machines.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";

const MiB = 1024 * 1024;

describe("machines as files", () => {
  let engine: EngineProcess;
  let scratch: string;
  const path = (name: string) => join(scratch, name);
  const machine = (...words: readonly string[]) => engine.berth("machine", ...words);
  const inspect = async (name: string) => await new MachinesClient(engine.client()).inspect(name);
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { cwd: scratch, encoding: "utf8" });

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-exchange-"));
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    writeFileSync(path("disk.raw"), Buffer.concat([randomBytes(MiB), Buffer.alloc(3 * MiB)]));
    engine = await EngineProcess.start();
    await engine.berth("network", "create", "lan");
  });
  afterEach(async () => {
    for (const { name } of await new MachinesClient(engine.client()).list()) await machine("rm", "-f", name);
    // Neither what was removed nor what was not made has left a file.
    expect(readdirSync(join(engine.dataRoot, "instances"))).toEqual([]);
    const transfers = join(engine.dataRoot, "machines", "transfers");
    expect(existsSync(transfers) ? readdirSync(transfers) : []).toEqual([]);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  async function create(name: string, ...words: readonly string[]): Promise<void> {
    const common = ["--disk-file", path("disk.raw"), "--memory", "64MiB", "--cpus", "2", "-q"];
    expect(await machine("create", name, ...common, ...words)).toMatchObject({ code: 0, stderr: "" });
  }

  async function diskOf(name: string): Promise<string> {
    const { disksDirectory, hardware } = await inspect(name);
    return join(disksDirectory, hardware.disks[0]?.file ?? "");
  }

  it("goes out as an OVA and comes in again, the same but for its name and its MAC address", async () => {
    await create("m-out", "--nic", "lan,model=e1000e", "--os", "other", "--disk-bus", "sata");
    expect(await machine("export", "m-out", path("m.ova"))).toEqual({
      code: 0,
      stdout: `${path("m.ova")}\n`,
      stderr: "",
    });
    expect(run("tar", "-tf", "m.ova").trim().split("\n")).toEqual(["m-out.ovf", "m-out.mf", "m-out-disk1.vmdk"]);
    run("tar", "-xf", "m.ova");
    run("xmllint", "--noout", "--relaxng", join(import.meta.dirname, "../integration/ovf/envelope.rng"), "m-out.ovf");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", "m-out-disk1.vmdk", "disk.raw");

    const imported = await machine("import", path("m.ova"), "--name", "m-in");
    expect(imported).toMatchObject({ code: 0, stdout: expect.stringContaining("another MAC address") });
    const [before, after] = [await inspect("m-out"), await inspect("m-in")];
    const { uuid: _before, ...hardware } = before.hardware;
    const { uuid: _after, ...now } = after.hardware;
    expect(now).toEqual(hardware);
    expect(after).toMatchObject({ cpus: 2, memory: 64 * MiB, status: "created" });
    expect(after.nics).toMatchObject([{ network: "lan", model: "e1000e" }]);
    expect(after.nics[0]?.mac).not.toBe(before.nics[0]?.mac);
    run("qemu-img", "compare", "-U", "-f", "qcow2", "-F", "raw", await diskOf("m-in"), "disk.raw");
  });

  it.each(["raw", "vhd"])("goes out as a %s and comes in again", async (ending) => {
    await create("m-out");
    const file = path(`m-${ending}.${ending}`);
    expect((await machine("export", "m-out", file)).code).toBe(0);
    const format = ending === "vhd" ? "vpc" : ending;
    run("qemu-img", "compare", "-f", format, "-F", "raw", file, "disk.raw");
    expect((await machine("import", file, "--network", "lan")).code).toBe(0);
    const back = await inspect(`m-${ending}`);
    expect(back).toMatchObject({ source: `m-${ending}.${ending}`, nics: [{ network: "lan" }] });
    run("qemu-img", "compare", "-U", "-f", "qcow2", "-F", "raw", await diskOf(`m-${ending}`), "disk.raw");
  });

  it("stays in while it runs, and where the format is unknown or the file is there", async () => {
    await create("m-busy", "--start");
    expect(await machine("export", "m-busy", path("busy.ova"))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("berth machine stop m-busy"),
    });
    expect((await machine("stop", "--force", "m-busy")).code).toBe(0);
    expect(await machine("export", "m-busy", path("busy.zip"))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("one of ova, qcow2"),
    });
    expect(await machine("export", "m-busy", path("disk.raw"))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("there already"),
    });
    expect(await machine("export", "m-busy", path("busy.raw"), "--disk", "nope")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("has no disk nope"),
    });
    expect(readdirSync(scratch).filter((name) => name.startsWith("busy"))).toEqual([]);
  });

  it("comes from VirtualBox with two disks, a blank one and a card on NAT", async () => {
    const directory = path("vbox");
    mkdirSync(directory);
    run(
      "qemu-img",
      "convert",
      "-f",
      "raw",
      "-O",
      "vmdk",
      "-o",
      "subformat=streamOptimized",
      "disk.raw",
      "vbox/a-disk001.vmdk",
    );
    const item = (type: number, id: number, more: string) =>
      `<Item><rasd:InstanceID>${id}</rasd:InstanceID><rasd:ResourceType>${type}</rasd:ResourceType>${more}</Item>`;
    writeFileSync(
      join(directory, "a.ovf"),
      `<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
        xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
        <References><File ovf:href="a-disk001.vmdk" ovf:id="file1"/></References>
        <DiskSection><Info/><Disk ovf:capacity="${4 * MiB}" ovf:diskId="d1" ovf:fileRef="file1"/><Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="d2"/></DiskSection>
        <VirtualSystem ovf:id="My Appliance 1.0"><Info/><OperatingSystemSection ovf:id="96"><Info/><Description>Debian_64</Description></OperatingSystemSection>
        <VirtualHardwareSection><Info/>${[
          item(3, 1, "<rasd:VirtualQuantity>1</rasd:VirtualQuantity>"),
          item(
            4,
            2,
            "<rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>64</rasd:VirtualQuantity>",
          ),
          item(5, 3, "<rasd:ResourceSubType>PIIX4</rasd:ResourceSubType>"),
          item(
            17,
            4,
            "<rasd:HostResource>/disk/d2</rasd:HostResource><rasd:Parent>3</rasd:Parent><rasd:AddressOnParent>1</rasd:AddressOnParent>",
          ),
          item(
            17,
            5,
            "<rasd:HostResource>/disk/d1</rasd:HostResource><rasd:Parent>3</rasd:Parent><rasd:AddressOnParent>0</rasd:AddressOnParent>",
          ),
          item(10, 6, "<rasd:Connection>NAT</rasd:Connection><rasd:ResourceSubType>82540EM</rasd:ResourceSubType>"),
        ].join("")}</VirtualHardwareSection></VirtualSystem></Envelope>`,
    );
    run("tar", "--format=ustar", "-C", "vbox", "-cf", "a.ova", "a.ovf", "a-disk001.vmdk");
    expect((await machine("import", path("a.ova"), "--network", "NAT=lan")).code).toBe(0);
    const found = await inspect("My-Appliance-1.0");
    expect(found.hardware.disks).toMatchObject([
      { name: "root", size: 4 * MiB, bus: "sata" },
      { name: "disk1", size: 8 * MiB, bus: "sata" },
    ]);
    expect(found.nics).toMatchObject([{ network: "lan", model: "e1000" }]);
  });

  it("leaves nothing when the client goes in the middle, out or in", async () => {
    await create("m-cut");
    using client = engine.client();
    const query = { format: "raw" };
    const { body: file } = await client.stream("GET", "/berth/v1/machines/m-cut/export", { query });
    await once(file, "readable");
    file.destroy();
    const gone = new AbortController();
    const half = new Readable({ read: () => {} });
    half.push(Buffer.alloc(MiB, 1));
    const sent = client.stream("POST", "/berth/v1/machines/import", {
      query: { name: "m-half", file: "half.raw" },
      body: half,
      signal: gone.signal,
    });
    // The engine may have told of its progress already: then it is the answer's body that breaks off.
    const ended = expect(sent.then(async ({ body }) => body.resume().toArray())).rejects.toThrow();
    const transfers = join(engine.dataRoot, "machines", "transfers");
    // Of the import alone: it is on its way.
    await expect.poll(() => readdirSync(transfers), { timeout: 20_000 }).toHaveLength(1);
    gone.abort();
    await ended;
    await expect.poll(() => readdirSync(transfers), { timeout: 20_000 }).toEqual([]);
    expect((await new MachinesClient(client).list()).map(({ name }) => name)).toEqual(["m-cut"]);
  });

  it("is refused by name where it is hostile, and leaves nothing", async () => {
    const refused = async (file: string, message: string) => {
      const { code, stderr } = await machine("import", path(file), "--name", "m-bad");
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(message) });
    };
    run("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", "backed.qcow2", "1M");
    await refused("backed.qcow2", "/etc/shadow");
    run("qemu-img", "create", "-q", "-f", "qcow2", "vast.qcow2", "60T");
    await refused("vast.qcow2", "more than the");
    writeFileSync(path("escape"), "x");
    run("tar", "--format=ustar", "-P", "--transform=s,escape,../../escape,", "-cf", "escape.ova", "escape");
    await refused("escape.ova", "its name leads elsewhere");
    writeFileSync(path("cut.qcow2"), readFileSync(path("vast.qcow2")).subarray(0, 80));
    await refused("cut.qcow2", "ends inside");
    await refused("none.ova", "none.ova");
  });
});
