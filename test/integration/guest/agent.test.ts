/**
 * The agent without a machine: PID 1 of a pid and mount namespace, with a socket for its port and a directory for its root. What needs
 * disks, devices and a kernel of its own is machine.test.ts's.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { TarEntry } from "../../../src/archive/tar-entry.ts";
import { TarParser } from "../../../src/archive/tar-parser.ts";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { background } from "../../../src/base/op-context.ts";
import { encodeFrame, frameType, frameWindow } from "../../../src/guest/frames.ts";
import { upperChanges, withParents } from "../../../src/snapshots/upper-changes.ts";
import { AgentClient, u32 } from "./agent-client.ts";

const tree = mkdtempSync(join(tmpdir(), "berth-agent-"));
const root = join(tree, "root");
/** Of one test: its "upper" is what was changed in the root. */
let changes: string;
let agent: ChildProcess;
let client: AgentClient;

beforeAll(() => {
  execFileSync("sh", ["guest/build.sh", tree]);
  for (const directory of ["bin", "etc", "tmp", "proc", "sys", "dev", "data"])
    mkdirSync(join(root, directory), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  const programs = "sh cat echo id ls sleep stty kill dd pwd env true yes rm ln mkdir mknod mkfifo chmod chown touch";
  for (const name of programs.split(" ")) {
    symlinkSync("busybox", join(root, "bin", name));
  }
  for (const name of ["whole/inside", "mode"]) mkdirSync(join(root, "opt", name), { recursive: true });
  for (const name of ["gone", "whole/file", "changed", "touched", "file"]) writeFileSync(join(root, "opt", name), name);
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:App:/data:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\napp:x:1001:\nextra:x:2000:other,app\nwheel:x:3000:other\n");
});

afterAll(() => rmSync(tree, { recursive: true }));

beforeEach(async () => {
  changes = mkdtempSync(join(tree, "changes-"));
  const argv = [
    "--mount",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "--uts",
    "--net",
    join(tree, "agent"),
    "--socket",
    "3",
  ];
  agent = spawn("unshare", argv, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const road = agent.stdio[3];
  if (!(road instanceof Duplex)) throw new Error("no socket to the agent");
  client = new AgentClient(road);
  expect(
    await client.call([
      ["verb", "mount"],
      ["directory", root],
      ["changes", changes],
    ]),
  ).toMatchObject({ fields: {} });
});

afterEach(async () => {
  const gone = new Promise((resolve) => agent.once("exit", resolve));
  agent.stdio[3]?.destroy();
  agent.kill("SIGKILL");
  await gone;
});

/** All that an archive says, without how it is written. */
function entriesOf(archive: Buffer) {
  const entries: unknown[] = [];
  let content = "";
  const handler = {
    entry: ({ xattrs, ...entry }: TarEntry) =>
      void entries.push([entry, [...xattrs].map(([k, v]) => [k, Buffer.from(v)])]),
    data: (chunk: Buffer) => void (content += chunk.toString("latin1")),
    endEntry: () => void entries.push(content),
  };
  const parser = new TarParser(handler, { maxBytes: Infinity, maxEntries: Infinity });
  parser.feed(archive);
  parser.end();
  return entries;
}

/** A main process that stays until its stdin ends. */
function runCat() {
  return client.open([
    ["verb", "run"],
    ["arg", "cat"],
    ["env", "PATH=/bin"],
    ["stdin", "1"],
  ]);
}

test("it greets, and says whether a root is mounted", async () => {
  expect(await client.hello()).toMatchObject({
    version: "1",
    root: "1",
    boot: expect.stringMatching(/^[0-9a-f]{16}$/),
  });
});

test("the main process is PID 1 of its namespace; its streams and exit code arrive", async () => {
  const script = "cat; echo pid $$; echo oops >&2; exit 7";
  const outcome = await client.call(
    [
      ["verb", "run"],
      ["arg", "sh"],
      ["arg", "-c"],
      ["arg", script],
      ["env", "PATH=/bin"],
      ["stdin", "1"],
    ],
    "typed\n",
  );
  expect(outcome).toEqual({ stdout: "typed\npid 1\n", stderr: "oops\n", fields: { code: "7" } });
});

test("commands beside it: user, groups, directory, environment, exit by a signal", async () => {
  const main = runCat();
  await main.started;
  const who = (user: string) => client.sh("id -u; id -g; id -G; pwd; echo $HOME", ["user", user], ["cwd", "/data"]);
  expect((await who("")).stdout).toBe("0\n0\n0\n/data\n/root\n");
  expect((await who("app")).stdout).toBe("1000\n1001\n1001 2000\n/data\n/data\n");
  expect((await who("app:wheel")).stdout).toBe("1000\n3000\n3000\n/data\n/data\n");
  expect((await who("4242:77")).stdout).toBe("4242\n77\n77\n/data\n/\n");
  expect((await client.sh("id -G", ["user", "app"], ["group", "wheel"], ["group", "55"])).stdout).toBe(
    "1001 55 2000 3000\n",
  );
  expect((await client.sh("kill -9 $$")).fields).toEqual({ code: "137", signal: "9" });
  expect((await client.sh("echo $A", ["env", "A=b=c"])).stdout).toBe("b=c\n");
});

test.each([
  ["a command that is not there", [["arg", "nosuch"]], "not-found", /exec: nosuch: No such file/],
  ["one that can't be executed", [["arg", "/etc/passwd"]], "not-executable", /Permission denied/],
  [
    "a user nobody knows",
    [
      ["arg", "true"],
      ["user", "bob"],
    ],
    "no-user",
    /unable to find user bob/,
  ],
  [
    "a group nobody knows",
    [
      ["arg", "true"],
      ["user", "app:nogroup"],
    ],
    "no-user",
    /unable to find group nogroup/,
  ],
  [
    "a directory that is not there",
    [
      ["arg", "true"],
      ["cwd", "/nowhere"],
    ],
    "no-directory",
    /working directory \/nowhere/,
  ],
] as const)("%s has its own kind of error", async (_, fields, kind, message) => {
  await runCat().started;
  const outcome = await client.call([["verb", "exec"], ["env", "PATH=/bin"], ...fields]);
  expect(outcome.fields).toMatchObject({ kind, message: expect.stringMatching(message) });
});

test("capabilities, no new privileges and limits are what was asked for", async () => {
  await runCat().started;
  const { stdout } = await client.sh(
    "cat /proc/self/status; ulimit -n",
    ["capabilities", "421"],
    ["nonewprivileges", "1"],
    ["rlimit", "nofile 99 100"],
  );
  expect(stdout).toMatch(/CapEff:\s*0000000000000421\n/);
  expect(stdout).toMatch(/CapBnd:\s*0000000000000421\n/);
  expect(stdout).toMatch(/NoNewPrivs:\s*1\n/);
  expect(stdout).toMatch(/\n99\n$/);
});

test("a terminal has its size, takes another, and its output is one stream", async () => {
  await runCat().started;
  const session = client.open([
    ["verb", "exec"],
    ["arg", "sh"],
    ["arg", "-c"],
    ["arg", "stty size; read x; stty size; echo err >&2"],
    ["env", "PATH=/bin"],
    ["tty", "1"],
    ["stdin", "1"],
    ["rows", "33"],
    ["columns", "99"],
  ]);
  while (session.received() < "33 99\r\n".length) await delay(5);
  client.send(encodeFrame(session.channel, frameType.resize, Buffer.from([40, 0, 120, 0])));
  client.send(encodeFrame(session.channel, frameType.data, Buffer.from("\n")));
  const { stdout, stderr, fields } = await session.closed;
  expect(stdout).toBe("33 99\r\n\r\n40 120\r\nerr\r\n");
  expect([stderr, fields]).toEqual(["", { code: "0" }]);
});

test("a reader that stalls stops its own stream at the window, and nobody else's", async () => {
  await runCat().started;
  const stalled = client.open(
    [
      ["verb", "exec"],
      ["arg", "yes"],
      ["env", "PATH=/bin"],
    ],
    { reads: false },
  );
  await stalled.started;
  while (stalled.received() < frameWindow) await delay(5);
  expect((await client.sh("echo others")).stdout).toBe("others\n");
  expect(stalled.received()).toBe(frameWindow);
  client.send(encodeFrame(stalled.channel, frameType.cancel));
  expect((await stalled.closed).fields).toEqual({ code: "137", signal: "9" });
});

test("input beyond the window is refused, and ends that channel only", async () => {
  await runCat().started;
  const flooded = client.open([
    ["verb", "exec"],
    ["arg", "sleep"],
    ["arg", "100"],
    ["env", "PATH=/bin"],
    ["stdin", "1"],
  ]);
  for (let sent = 0; sent < frameWindow + 2 * 65536; sent += 65536)
    client.send(encodeFrame(flooded.channel, frameType.data, Buffer.alloc(65536)));
  expect((await flooded.closed).fields).toMatchObject({ kind: "protocol" });
  expect((await client.sh("echo alive")).stdout).toBe("alive\n");
});

test("the main process's end ends the others", async () => {
  const main = runCat();
  await main.started;
  const other = client.open([
    ["verb", "exec"],
    ["arg", "sleep"],
    ["arg", "1000"],
    ["env", "PATH=/bin"],
  ]);
  await other.started;
  client.send(encodeFrame(main.channel, frameType.signal, u32(9)));
  expect((await main.closed).fields).toEqual({ code: "137", signal: "9" });
  expect((await other.closed).fields).toEqual({ code: "137", signal: "9" });
  expect((await client.sh("true")).fields).toMatchObject({ kind: "not-running" });
});

test("files go in and out as tar, with owners, links and long names", async () => {
  await runCat().started;
  const source = join(tree, "source");
  const long = `${"d".repeat(120)}/${"f".repeat(120)}`;
  mkdirSync(join(source, "d".repeat(120)), { recursive: true });
  writeFileSync(join(source, long), "deep");
  writeFileSync(join(source, "big"), Buffer.alloc(300_000, 5), { mode: 0o640 });
  symlinkSync("/etc/passwd", join(source, "link"));
  const archive = execFileSync("tar", ["-C", source, "--owner=7", "--group=8", "--format=pax", "-cf", "-", "."]);
  const into = client.open([
    ["verb", "unpack"],
    ["path", "/data"],
    ["keepowner", "1"],
  ]);
  for (let at = 0; at < archive.length; at += 50_000) {
    client.send(encodeFrame(into.channel, frameType.data, archive.subarray(at, at + 50_000)));
    await delay(1);
    if (at > frameWindow / 2) await delay(20);
  }
  client.send(encodeFrame(into.channel, frameType.end));
  expect(await into.closed).toMatchObject({ stderr: "", fields: { code: "0" } });
  expect(readFileSync(join(changes, "upper/data", long), "utf8")).toBe("deep");
  const out = await client.call([
    ["verb", "pack"],
    ["path", "/data"],
    ["name", "x"],
  ]);
  expect(out.fields).toEqual({ code: "0" });
  const listing = execFileSync("tar", ["--numeric-owner", "-tvf", "-"], {
    input: Buffer.from(out.stdout, "latin1"),
    encoding: "utf8",
  });
  expect(listing).toMatch(/-rw-r----- 7\/8 +300000 .* x\/big\n/);
  expect(listing).toMatch(/ x\/link -> \/etc\/passwd\n/);
  expect(listing).toContain(`x/${long}\n`);
});

test("what was changed is told, and packed as a layer, as by the host of a container", async () => {
  await runCat().started;
  const script = [
    "cd /data; echo new > new; echo two > two; ln two three; ln -s new link; mkdir -p deep/er; echo x > deep/er/x",
    "mknod char c 5 6; mkfifo fifo; chmod 4711 new; chown 1000:1001 two",
    "rm /opt/gone; rm -rf /opt/whole; mkdir /opt/whole; echo again > /opt/whole/again",
    "echo more >> /opt/changed; touch -d @1000000000 /opt/touched; chmod 700 /opt/mode; rm -rf /opt/file; mkdir /opt/file",
  ].join("\n");
  expect(await client.sh(script, ["env", "PATH=/bin"])).toMatchObject({ stderr: "", fields: { code: "0" } });
  execFileSync("setcap", ["cap_net_raw=ep", join(changes, "upper/opt/changed")]);
  const told = await client.call([["verb", "changes"]]);
  expect(told.fields).toEqual({ code: "0" });
  await using threads = new ThreadConfinedRoots();
  await using roots = await threads.open(background(), join(changes, "upper"));
  const listed = await roots.list(background(), "/");
  const expected = await upperChanges(listed, { directories: [root], capability: async () => "" });
  const kinds = { A: "added", C: "modified", D: "deleted" } as const;
  const actual = withParents(
    told.stdout.split("\0").flatMap((each) => {
      const kind = each.slice(0, 1);
      return kind === "A" || kind === "C" || kind === "D" ? [{ kind: kinds[kind], path: each.slice(1) }] : [];
    }),
  );
  expect(actual).toEqual(expected);
  expect(actual.length).toBeGreaterThan(15);
  const layer = await client.call([
    ["verb", "layer"],
    ["freeze", "1"],
  ]);
  expect(layer).toMatchObject({ stderr: "", fields: { code: "0" } });
  const packed = await buffer(await roots.pack(background(), { path: "/", rename: "", semantics: "layer" }));
  expect(entriesOf(Buffer.from(layer.stdout, "latin1"))).toEqual(entriesOf(packed));
});

test("an archive that leaves the directory, or is damaged, is refused", async () => {
  await runCat().started;
  const climbing = execFileSync("tar", ["-C", tree, "--transform", "s,agent,../../out,", "-P", "-cf", "-", "agent"]);
  const outcome = await client.call(
    [
      ["verb", "unpack"],
      ["path", "/data"],
    ],
    climbing.subarray(0, 1024),
  );
  expect(outcome).toMatchObject({ fields: { code: "1" }, stderr: expect.stringContaining("leaves the directory") });
  const damaged = await client.call(
    [
      ["verb", "unpack"],
      ["path", "/data"],
    ],
    Buffer.alloc(512, 65),
  );
  expect(damaged).toMatchObject({ fields: { code: "1" }, stderr: expect.stringContaining("checksum") });
});

test("what is at a path; what runs; what is unknown", async () => {
  await runCat().started;
  const { fields } = await client.call([
    ["verb", "stat"],
    ["path", "/bin/sh"],
  ]);
  expect(fields).toMatchObject({ name: "sh", link: "busybox", mode: String(0o120777) });
  expect(
    (
      await client.call([
        ["verb", "stat"],
        ["path", "/nope"],
      ])
    ).fields,
  ).toMatchObject({ kind: "system", errno: "2" });
  expect((await client.call([["verb", "processes"]])).fields["process"]).toMatch(/^1 0 0 \d+ \d+ [RS]\ncat$/);
  expect((await client.call([["verb", "stats"]])).fields).toMatchObject({ pids: "1" });
  expect((await client.call([["verb", "dance"]])).fields).toMatchObject({ kind: "invalid" });
});

test("identity: name, files, and a loopback that is up", async () => {
  const configured = await client.call([
    ["verb", "configure"],
    ["hostname", "web1"],
    ["file", "/etc/hosts\n127.0.0.1 localhost\n"],
  ]);
  expect(configured.fields).toEqual({});
  await runCat().started;
  expect((await client.sh("cat /proc/sys/kernel/hostname /etc/hosts; cat /sys/class/net/lo/flags")).stdout).toBe(
    "web1\n127.0.0.1 localhost\n0x9\n",
  );
});
