/** `GET /metrics` of an engine whose containers are real. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readAll } from "../../../src/client/engine-client.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";
import { EngineProcess } from "../../support/engine-process.ts";
import { assertNothingLeft } from "../../support/leaks.ts";

const image = "berth-metrics:1";

describe("GET /metrics", () => {
  let engine: EngineProcess;
  let scratch: string;

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-metrics-"));
    engine = await EngineProcess.start();
    writeFileSync(join(scratch, "image.tar"), await busyboxArchive({ tags: [image] }));
    expect((await engine.docker("load", "-i", join(scratch, "image.tar"))).code).toBe(0);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  /** Values by series: `name{labels}`. */
  async function scrape(): Promise<ReadonlyMap<string, number>> {
    using client = engine.client();
    const text = await readAll((await client.stream("GET", "/metrics")).body);
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => {
        const end = line.lastIndexOf(" ");
        return [line.slice(0, end), Number(line.slice(end + 1))];
      }),
    );
  }

  it("measures what runs by its control group and its interface, and no other", async () => {
    const work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; ping -c 1 -w 5 127.0.0.1; sleep 1000";
    const busy = await engine.docker(
      "run",
      "-d",
      "--name",
      "busy",
      "-m",
      "64m",
      "--stop-signal",
      "KILL",
      image,
      "sh",
      "-c",
      work,
    );
    expect(busy.code, busy.stderr).toBe(0);
    const bare = await engine.docker(
      "run",
      "-d",
      "--name",
      "bare",
      "--net",
      "none",
      "--stop-signal",
      "KILL",
      image,
      "sleep",
      "1000",
    );
    expect(bare.code, bare.stderr).toBe(0);
    expect((await engine.docker("create", "--name", "idle", image, "true")).code).toBe(0);

    const of = (name: string, id: string, more = "") => `{id="${id.slice(0, 12)}",name="${name}"${more}}`;
    const [one, two] = [of("busy", busy.stdout), of("bare", bare.stdout)];
    await expect
      .poll(async () => (await scrape()).get(`berth_container_cpu_seconds_total${one}`), {
        timeout: 20_000,
        interval: 1100,
      })
      .toBeGreaterThan(0.02);
    const values = await scrape();
    expect(values.get('berth_containers{state="running"}')).toBe(2);
    expect(values.get('berth_containers{state="created"}')).toBe(1);
    expect(values.get(`berth_container_memory_limit_bytes${one}`)).toBe(64 * 1024 ** 2);
    expect(values.get(`berth_container_memory_working_set_bytes${one}`)).toBeGreaterThan(0);
    expect(values.get(`berth_container_pids${one}`)).toBeGreaterThanOrEqual(1);
    expect(values.get(`berth_container_pids${two}`)).toBe(1);
    const transmitted = `berth_container_network_transmit_bytes_total${of("busy", busy.stdout, ',interface="eth0"')}`;
    expect(values.get(transmitted)).toBeGreaterThanOrEqual(0);
    expect([...values.keys()].filter((series) => series.includes('name="bare"') && series.includes("network"))).toEqual(
      [],
    );
    expect([...values.keys()].filter((series) => series.includes('name="idle"'))).toEqual([]);
    expect(values.get("process_resident_memory_bytes")).toBeGreaterThan(20 * 1024 ** 2);
  });

  it("forgets what ended", async () => {
    expect((await engine.docker("rm", "-f", "busy")).code).toBe(0);
    await expect
      .poll(async () => [...(await scrape()).keys()].some((series) => series.includes('name="busy"')), {
        timeout: 10_000,
        interval: 500,
      })
      .toBe(false);
    expect((await scrape()).get('berth_containers{state="running"}')).toBe(1);
  });
});
