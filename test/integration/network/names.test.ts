import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ctx, endpoint, sandboxRequest, TestEngine, type TestContainer } from "./engine-fixture.ts";

describe("names", () => {
  let engine: TestEngine;
  let web: TestContainer;
  let client: TestContainer;

  beforeAll(async () => {
    engine = await TestEngine.start();
    await engine.create("app");
    await engine.create("back");
    web = await engine.container("web", { endpoints: { app: endpoint({ aliases: ["www", "site"] }) } });
    client = await engine.container("client", { on: "app", dnsSearch: ["corp.example"] });
  });
  afterAll(async () => engine[Symbol.asyncDispose]());

  const lookUp = (from: TestContainer, name: string): Promise<string> =>
    from.exec("sh", "-c", `getent ahostsv4 ${name} | cut -d' ' -f1 | sort -u | tr '\\n' ' '`);

  it("answers names, aliases, short ids and names with the network's", async () => {
    const shortId = web.sandbox.instanceId.slice(0, 12);
    for (const name of ["web", "www", "site", shortId, "web.app", "WEB"]) {
      expect(await lookUp(client, name), name).toBe(web.ip);
    }
    expect(await lookUp(client, "client")).toBe(client.ip);
    expect(readFileSync(client.sandbox.resolvConfPath, "utf8")).toContain("search corp.example\noptions ndots:0\n");
    expect(web.sandbox.endpoints[0]?.dnsNames).toEqual(["web", "www", "site", shortId]);
  });

  it("answers addresses, and unknown names at once", async () => {
    const server = engine.networks.resolve("app").spec.ipam[0]?.gateway ?? "";
    expect(await client.exec("busybox", "nslookup", web.ip, server)).toContain("name = web.app");
    const started = performance.now();
    expect(await client.exec("sh", "-c", `busybox nslookup nobody ${server} 2>&1 || true`)).toContain("NXDOMAIN");
    expect(await client.exec("sh", "-c", `busybox nslookup 10.213.0.250 ${server} 2>&1 || true`)).toContain("NXDOMAIN");
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it("gives an alias of several containers all their addresses", async () => {
    const second = await engine.container("web2", { endpoints: { app: endpoint({ aliases: ["www"] }) } });
    expect((await lookUp(client, "www")).split(" ").sort()).toEqual([web.ip, second.ip].sort());
    await engine.stop(second);
    await eventually(async () => (await lookUp(client, "www")) === web.ip);
  });

  it("forgets a name as soon as its container is gone, and follows a new name", async () => {
    const brief = await engine.container("brief", { on: "app" });
    expect(await lookUp(client, "brief")).toBe(brief.ip);
    await engine.networks.rename(ctx, brief.sandbox.instanceId, "lasting");
    await eventually(async () => (await lookUp(client, "lasting")) === brief.ip);
    expect(await lookUp(client, "brief")).toBe("");
    await engine.stop(brief);
    await eventually(async () => (await lookUp(client, "lasting")) === "");
  });

  it("answers the names of all networks that a container is on", async () => {
    const database = await engine.container("database", { on: "back" });
    const both = await engine.container("both", { endpoints: { app: endpoint(), back: endpoint() } });
    expect(await lookUp(both, "web")).toBe(web.ip);
    expect(await lookUp(both, "database")).toBe(database.ip);
    expect(await lookUp(client, "database")).toBe("");
    await engine.stop(both);
    expect(existsSync(join(engine.runRoot, "sandboxes", both.sandbox.instanceId))).toBe(false);
    await engine.stop(database);
  });

  it("asks a container's own servers, and still knows the network's names", async () => {
    const own = await engine.container("own", { on: "app", dns: ["192.0.2.53"] });
    expect(readFileSync(own.sandbox.resolvConfPath, "utf8")).toContain("nameserver 127.0.0.11");
    expect(await lookUp(own, "web")).toBe(web.ip);
    const config = readFileSync(
      join(engine.runRoot, "sandboxes", own.sandbox.instanceId, "dns", "dnsmasq.conf"),
      "utf8",
    );
    expect(config).toContain("server=192.0.2.53");
    await engine.stop(own);
  });

  it("runs its servers without root, and starts one again that has died", async () => {
    const id = engine.networks.resolve("app").id;
    const pidFile = join(engine.runRoot, "networks", id, "dns", "dnsmasq.pid");
    const pid = Number(readFileSync(pidFile, "utf8"));
    expect(statSync(`/proc/${pid}`).uid).not.toBe(0);
    process.kill(pid, "SIGKILL");
    await eventually(async () => existsSync(pidFile) && Number(readFileSync(pidFile, "utf8")) !== pid);
    await eventually(async () => (await lookUp(client, "web")) === web.ip);
  });

  it("gives containers of the default bridge no names but links and extra hosts", async () => {
    const target = await engine.container("target");
    const linking = await engine.container("linking", {
      endpoints: { bridge: endpoint({ links: ["target:db"] }) },
      extraHosts: ["printer:10.1.2.3", "host:host-gateway"],
    });
    const hosts = readFileSync(linking.sandbox.hostsPath, "utf8");
    expect(hosts).toContain(`${target.ip}\tdb ${target.sandbox.instanceId.slice(0, 12)} target\n`);
    expect(hosts).toContain("10.1.2.3\tprinter\n");
    expect(hosts).toContain(`${target.sandbox.endpoints[0]?.gateway}\thost\n`);
    expect(hosts).toContain(`${linking.ip}\t${linking.sandbox.instanceId.slice(0, 12)}\n`);
    expect(readFileSync(linking.sandbox.hostnamePath, "utf8")).toBe(`${linking.sandbox.instanceId.slice(0, 12)}\n`);
    await expect(engine.container("lost", { endpoints: { bridge: endpoint({ links: ["nobody"] }) } })).rejects.toThrow(
      "Cannot link to a non running container: nobody",
    );
    await engine.stop(linking);
    await engine.stop(target);
  });

  it("answers an alias of a link to the linking container alone, also one that comes up later or moves", async () => {
    const linking = await engine.container("linking", {
      endpoints: { app: endpoint({ links: ["web:db", "late:soon"] }) },
    });
    const asked = (name: string) => linking.exec("sh", "-c", `busybox nslookup ${name} 127.0.0.11 2>&1 || true`);
    expect(await asked("db")).toContain(`Address: ${web.ip}`);
    expect(await asked("web")).toContain(`Address: ${web.ip}`);
    expect(await lookUp(client, "db")).toBe("");
    expect(await asked("soon")).toContain("NXDOMAIN");
    const late = await engine.container("late", { on: "app" });
    await eventually(async () => (await asked("soon")).includes(`Address: ${late.ip}`));
    await engine.stop(late);
    await engine.networks.relink(ctx, linking.sandbox.instanceId, "app", []);
    await eventually(async () => (await lookUp(linking, "db")) === "");
    expect(await lookUp(linking, "web")).toBe(web.ip);
    await engine.stop(linking);
    expect(existsSync(join(engine.runRoot, "sandboxes", linking.sandbox.instanceId))).toBe(false);
  });

  it("gives an interface the link-local addresses that were asked for", async () => {
    const local = await engine.container("local", {
      endpoints: { app: endpoint({ linkLocalAddresses: ["169.254.8.8", "fe80::88"] }) },
    });
    const addresses = await local.exec("ip", "-o", "address", "show", "eth0");
    for (const address of [`${local.ip}/24`, "169.254.8.8/16", "fe80::88/64"]) expect(addresses).toContain(address);
    await engine.stop(local);
  });

  it("gives no network and the host's network what they need", async () => {
    const none = await engine.container("none", { mode: "none", endpoints: {} });
    expect(await none.exec("sh", "-c", "ip -o link | wc -l")).toBe("1");
    expect(await none.exec("ip", "-o", "address", "show", "lo")).toContain("127.0.0.1/8");
    expect(none.sandbox.endpoints[0]).toMatchObject({ networkName: "none", ipv4Cidr: "" });
    const onHost = await engine.networks.setUp(
      ctx,
      sandboxRequest("on-host", { mode: "host", extraHosts: ["a:1.2.3.4"] }),
    );
    expect(onHost.netnsPath).toBe("");
    expect(readFileSync(onHost.hostsPath, "utf8")).toBe(
      `${readFileSync("/etc/hosts", "utf8").replace(/\n?$/, "\n")}1.2.3.4\ta\n`,
    );
    await engine.networks.tearDown(ctx, onHost.instanceId);
    await engine.stop(none);
  });
});

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 50; i++) {
    if (await check()) return;
    await delay(40);
  }
  expect(await check()).toBe(true);
}
