import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger, type Logger } from "../../base/logger.ts";
import { berthRoutes } from "../berth/routes.ts";
import { createDockerApi } from "./api.ts";
import { type FakeBackend, fakeBackend } from "./fake/fake-backend.ts";

let backend: FakeBackend;
let api: ReturnType<typeof createDockerApi>;
const errors: object[] = [];
const log: Logger = { ...silentLogger, error: (fields) => void errors.push(fields) };

beforeEach(() => {
  backend = fakeBackend();
  backend.images.add("busybox", { Cmd: ["sh"] });
  api = createDockerApi({ backend, log, routes: berthRoutes });
  errors.length = 0;
});
afterEach(() => expect(errors).toEqual([]));

type Verb = "GET" | "HEAD" | "POST" | "PUT" | "DELETE";

async function call(method: Verb, url: string, body?: object, headers: Record<string, string> = {}) {
  const answer = await api.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) });
  const isJson = answer.headers["content-type"] === "application/json";
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text: answer.body,
    json: isJson ? lines(answer.body) : undefined,
  };
}

function lines(text: string): unknown {
  const values = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line): unknown => JSON.parse(line));
  return values.length === 1 ? values[0] : values;
}

async function create(name: string, body: object = {}): Promise<string> {
  const answer = await call("POST", `/containers/create?name=${name}`, { Image: "busybox", Cmd: ["sleep"], ...body });
  expect(answer.status).toBe(201);
  return backend.instances.resolve(name).id;
}

describe("versions and paths", () => {
  it("answers a ping with what clients negotiate by", async () => {
    for (const method of ["GET", "HEAD"] as const) {
      const { status, headers, text } = await call(method, "/_ping");
      expect(status).toBe(200);
      expect(headers).toMatchObject({
        "api-version": "1.51",
        "docker-experimental": "false",
        "builder-version": "1",
        ostype: "linux",
        "content-type": "text/plain; charset=utf-8",
      });
      expect(text).toBe(method === "GET" ? "OK" : "");
    }
  });

  it.each([
    ["/v1.23/version", /^client version 1\.23 is too old\. Minimum supported API version is 1\.24, please upgrade/],
    ["/v0.9/version", /too old/],
  ])("refuses %s as text", async (url, message) => {
    const { status, text, headers } = await call("GET", url);
    expect(status).toBe(400);
    expect(text).toMatch(message);
    expect(headers["content-type"]).toMatch(/^text\/plain/);
  });

  it("refuses versions to come", async () => {
    const { status, json } = await call("GET", "/v1.52/version");
    expect(status).toBe(400);
    expect(json).toMatchObject({ message: "client version 1.52 is too new. Maximum supported API version is 1.51" });
  });

  it.each(["/nope", "/v1.51/nope", "/v1.24/containers/prune", "/containers/x/nope"])("has no page %s", async (url) => {
    const { status, json } = await call("POST", url);
    expect(status).toBe(404);
    expect(json).toMatchObject({ message: "page not found" });
  });

  it("serves each route to every version that has it", async () => {
    for (const version of ["", "/v1.24", "/v1.43", "/v1.51"]) {
      expect((await call("GET", `${version}/version`)).json).toMatchObject({
        ApiVersion: "1.51",
        MinAPIVersion: "1.24",
      });
    }
  });
});

describe("bodies", () => {
  const post = (payload: string, type = "application/json") =>
    api.inject({ method: "POST", url: "/containers/create", payload, headers: { "content-type": type } });

  it.each([
    ["{", "application/json", "invalid JSON"],
    ["", "application/json", "invalid JSON: got EOF while reading request body"],
    ["{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"],
    ['{"Image":1}', "application/json", "invalid request: Image must be string"],
    ['{"HostConfig":{"Memory":"1g"}}', "application/json; charset=utf-8", "HostConfig.Memory must be integer"],
    [
      '{"HostConfig":{"Mounts":[{"Type":"bind","ReadOnly":"y"}]}}',
      "application/json",
      "HostConfig.Mounts.0.ReadOnly must be boolean",
    ],
    ["[]", "application/json", "invalid request: the body must be object"],
  ])("refuses %s as %s", async (payload, type, message) => {
    const answer = await post(payload, type);
    expect(answer.statusCode).toBe(400);
    expect(answer.json<{ message: string }>().message).toContain(message);
    expect(backend.instances.requests).toEqual([]);
  });

  it("ignores members that Docker does not know, as Docker does", async () => {
    expect((await post('{"Image":"busybox","Cmd":["x"],"Nope":1}')).statusCode).toBe(201);
  });

  it("takes a body of more than the limit for an error", async () => {
    const answer = await post(`{"Image":"${"x".repeat(17 * 1024 * 1024)}"}`);
    expect(answer.statusCode).toBe(413);
  });
});

describe("containers", () => {
  it("creates, starts, inspects, lists, stops and removes", async () => {
    const id = await create("web", {
      Labels: { a: "b" },
      ExposedPorts: { "80/tcp": {} },
      HostConfig: { PortBindings: { "80/tcp": [{ HostPort: "8080" }] }, Binds: ["vol:/data:ro"], NanoCpus: 5e8 },
    });
    expect((await call("POST", `/containers/web/start`)).status).toBe(204);
    expect((await call("POST", `/containers/${id.slice(0, 12)}/start`)).status).toBe(304);
    const inspected = (await call("GET", "/containers/web/json?size=1")).json;
    expect(inspected).toMatchObject({
      Id: id,
      Name: "/web",
      Path: "sleep",
      Args: [],
      SizeRw: 5,
      State: { Status: "running", Running: true, Pid: 4242, FinishedAt: "0001-01-01T00:00:00Z" },
      Config: { Hostname: id.slice(0, 12), Labels: { a: "b" }, Entrypoint: null, Cmd: ["sleep"], Volumes: null },
      HostConfig: {
        Binds: ["vol:/data:ro"],
        NanoCpus: 500_000_000,
        PortBindings: { "80/tcp": [{ HostPort: "8080" }] },
      },
      NetworkSettings: { Ports: { "80/tcp": null }, Networks: { bridge: { EndpointID: "" } } },
      Mounts: [{ Type: "volume", Name: "vol", Destination: "/data", RW: false, Mode: "ro" }],
    });
    expect((await api.inject({ url: "/containers/json" })).json()).toMatchObject([{ Id: id, Names: ["/web"] }]);
    expect((await call("DELETE", "/containers/web")).status).toBe(409);
    expect((await call("POST", "/containers/web/stop?t=1")).status).toBe(204);
    expect((await call("POST", "/containers/web/stop")).status).toBe(304);
    expect((await call("DELETE", "/containers/web?v=1")).status).toBe(204);
    const gone = await call("GET", "/containers/web/json");
    expect(gone.status).toBe(404);
    expect(gone.json).toMatchObject({ message: "No such container: web", code: "INSTANCE_NOT_FOUND" });
  });

  it("says 404 for a missing image only: clients then pull it", async () => {
    const image = await call("POST", "/containers/create", { Image: "nope", Cmd: ["x"] });
    expect(image).toMatchObject({ status: 404, json: { message: "No such image: nope:latest" } });
    for (const HostConfig of [{ VolumesFrom: ["nope"] }, { PidMode: "container:nope" }, { NetworkMode: "nope" }]) {
      const other = await call("POST", "/containers/create", { Image: "busybox", Cmd: ["x"], HostConfig });
      expect(other).toMatchObject({
        status: 400,
        json: { message: expect.stringMatching(/No such container|not found/) },
      });
    }
  });

  it("lists only what runs, unless asked for more", async () => {
    await create("one");
    await create("two", { Labels: { tier: "front" } });
    await call("POST", "/containers/one/start");
    const names = async (query: string) => {
      const answer = await api.inject({ url: `/containers/json?${query}` });
      return answer.json<{ Names: string[] }[]>().map(({ Names }) => Names[0]);
    };
    const filtered = (filters: object) => names(`filters=${encodeURIComponent(JSON.stringify(filters))}`);
    expect(await names("")).toEqual(["/one"]);
    expect(await names("all=1")).toEqual(["/two", "/one"]);
    expect(await names("limit=1")).toEqual(["/two"]);
    expect(await filtered({ status: ["created"] })).toEqual(["/two"]);
    expect(await filtered({ name: ["^/?on"] })).toEqual(["/one"]);
    expect(await filtered({ status: ["created"], label: ["tier=front"] })).toEqual(["/two"]);
    expect(await filtered({ status: ["created"], label: ["tier=back"] })).toEqual([]);
    expect(await filtered({ ancestor: ["busybox"] })).toEqual(["/one"]);
    expect(await filtered({ ancestor: ["debian"] })).toEqual([]);
    expect(await filtered({ network: ["bridge"] })).toEqual(["/one"]);
    expect(await filtered({ status: ["created", "running"], before: ["two"] })).toEqual(["/one"]);
  });

  it("shows the image's id when its name means another image now", async () => {
    await create("old");
    const image = backend.images.resolve("busybox");
    backend.images.records.set(image.id, { ...image, tags: [] });
    const answer = await api.inject({ url: "/containers/json?all=1" });
    expect(answer.json<{ Image: string }[]>()[0]?.Image).toBe(image.id);
  });

  it("updates what was stated, and nothing else", async () => {
    await create("web");
    const body = { Memory: 0, PidsLimit: 0, CpuShares: 512, RestartPolicy: { Name: "always" } };
    expect((await call("POST", "/containers/web/update", body)).json).toEqual({ Warnings: [] });
    expect(backend.instances.updates).toEqual([
      {
        resources: { cpuShares: 512, pidsLimit: 0 },
        ulimits: [],
        restartPolicy: { name: "always", maximumRetryCount: 0 },
      },
    ]);
    expect((await call("POST", "/containers/web/update", { CgroupParent: "/x" })).status).toBe(501);
  });

  it("gives stats once, with the reading before, or zeros when it does not run", async () => {
    await create("web");
    expect((await call("GET", "/containers/web/stats?stream=0")).json).toMatchObject({ read: "0001-01-01T00:00:00Z" });
    await call("POST", "/containers/web/start");
    const once = (await call("GET", "/containers/web/stats?stream=0&one-shot=1")).json;
    expect(once).toMatchObject({
      name: "/web",
      precpu_stats: { cpu_usage: { total_usage: 0 } },
      pids_stats: { current: 1 },
    });
    const both = await api.inject({ url: "/containers/web/stats?stream=false" });
    const { cpu_stats, precpu_stats } = both.json<Record<string, { cpu_usage: { total_usage: number } }>>();
    expect(precpu_stats?.cpu_usage.total_usage).toBeGreaterThan(0);
    expect(cpu_stats?.cpu_usage.total_usage).toBeGreaterThan(precpu_stats?.cpu_usage.total_usage ?? 0);
  });

  it("answers resize, rename, top, changes, commit and prune", async () => {
    await create("web");
    expect((await call("POST", "/containers/web/resize?h=24&w=80")).status).toBe(200);
    expect(backend.instances.resizes).toEqual([{ rows: 24, columns: 80 }]);
    expect((await call("POST", "/containers/web/resize?h=x&w=80")).status).toBe(400);
    expect((await call("POST", "/containers/web/rename?name=site")).status).toBe(204);
    expect((await call("GET", "/containers/site/top")).json).toMatchObject({ Titles: ["UID", "PID", "CMD"] });
    expect((await call("GET", "/containers/site/changes")).json).toEqual([
      { Path: "/etc", Kind: 0 },
      { Path: "/etc/new", Kind: 1 },
    ]);
    expect((await call("POST", "/commit?container=site&repo=made&tag=1")).status).toBe(201);
    expect(backend.images.resolve("made:1").tags).toEqual(["docker.io/library/made:1"]);
    expect((await call("POST", "/containers/prune")).json).toMatchObject({ SpaceReclaimed: 0 });
  });

  it("copies both ways", async () => {
    await create("web");
    const head = await call("HEAD", "/containers/web/archive?path=/etc/hosts");
    const stat: unknown = JSON.parse(
      Buffer.from(String(head.headers["x-docker-container-path-stat"]), "base64").toString(),
    );
    expect(stat).toEqual({ name: "etc/hosts", size: 3, mode: 420, mtime: "2026-01-01T00:00:00Z", linkTarget: "" });
    const got = await api.inject({ url: "/containers/web/archive?path=/etc/hosts" });
    expect(got.rawPayload).toHaveLength(1024);
    const put = { method: "PUT", url: "/containers/web/archive?path=/", payload: Buffer.alloc(512) } as const;
    expect((await api.inject({ ...put, headers: { "content-type": "application/x-tar" } })).statusCode).toBe(200);
    expect(backend.instances.copied).toEqual([Buffer.alloc(512)]);
    expect((await call("HEAD", "/containers/web/archive?path=/missing")).status).toBe(404);
    expect((await call("GET", "/containers/web/archive")).status).toBe(400);
  });
});

describe("images", () => {
  it("streams a pull, with credentials passed on", async () => {
    const auth = Buffer.from(JSON.stringify({ username: "u", password: "p" })).toString("base64url");
    const answer = await call("POST", "/images/create?fromImage=debian&tag=12", undefined, { "X-Registry-Auth": auth });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject([
      { status: "Pulling from library/x", id: "latest", progressDetail: {} },
      {
        status: "Downloading",
        progressDetail: { current: 500_000, total: 1_000_000 },
        progress: expect.stringContaining("500kB/1MB"),
      },
      { status: "Pull complete" },
    ]);
    expect(backend.images.pulls).toEqual([{ reference: "debian:12", auth: { username: "u", password: "p" } }]);
  });

  it("takes a name without a tag for all of its tags", async () => {
    await call("POST", "/images/create?fromImage=localhost:5000/debian");
    expect(backend.images.pulls).toEqual([{ reference: "localhost:5000/debian", allTags: true }]);
    await call("POST", "/images/localhost:5000/debian/push");
    await call("POST", "/images/localhost:5000/debian/push?tag=12");
    expect(backend.images.pushes).toEqual([
      { reference: "localhost:5000/debian", allTags: true },
      { reference: "localhost:5000/debian:12" },
    ]);
  });

  it("answers an error's own status before the stream, and in the stream after its head", async () => {
    expect((await call("POST", "/images/create?fromImage=missing&tag=1")).status).toBe(404);
    const broken = await call("POST", "/images/create?fromImage=broken&tag=1");
    expect(broken.status).toBe(200);
    expect(broken.text.trim().split("\r\n").at(-1)).toBe(
      '{"errorDetail":{"message":"connection cut"},"error":"connection cut"}',
    );
  });

  it.each([
    ["/images/create?fromImage=scratch&tag=latest", 400, "'scratch' is a reserved name"],
    ["/images/create", 400, "give fromImage"],
    ["/images/create?fromSrc=ftp://x/y", 400, "only http and https"],
    ["/images/x/push?platform=%7B%7D", 501, "pushing one platform"],
  ])("refuses %s", async (url, status, message) => {
    const answer = await call("POST", url);
    expect(answer.status).toBe(status);
    expect(answer.json).toMatchObject({ message: expect.stringContaining(message) });
  });

  it("lists, inspects, tags, removes, with slashes in names", async () => {
    expect((await call("POST", "/images/busybox/tag?repo=localhost:5000/a/b&tag=2")).status).toBe(201);
    const image = (await call("GET", "/images/localhost:5000/a/b:2/json")).json;
    expect(image).toMatchObject({ RepoTags: ["busybox:latest", "localhost:5000/a/b:2"], Config: { Cmd: ["sh"] } });
    const listed = await api.inject({ url: "/images/json" });
    expect(listed.json()).toMatchObject([{ Containers: 0, SharedSize: -1, Size: 1234 }]);
    expect(listed.json<object[]>()[0]).not.toHaveProperty("VirtualSize");
    const old = await api.inject({ url: "/v1.43/images/json" });
    expect(old.json()).toMatchObject([{ VirtualSize: 1234 }]);
    const pattern = encodeURIComponent(JSON.stringify({ reference: ["busy*"] }));
    expect((await api.inject({ url: `/images/json?filters=${pattern}` })).json()).toHaveLength(1);
    const other = encodeURIComponent(JSON.stringify({ reference: ["deb*"] }));
    expect((await api.inject({ url: `/images/json?filters=${other}` })).json()).toEqual([]);
    expect((await call("GET", "/images/busybox/history")).json).toMatchObject({});
    expect((await call("DELETE", "/images/localhost:5000/a/b:2")).status).toBe(200);
    const gone = await call("GET", "/images/busybox/json");
    expect(gone.json).toMatchObject({ message: "No such image: busybox:latest" });
    expect((await call("GET", "/images/a/b@sha256:00/json")).status).toBe(400);
  });

  it("loads quietly by default, saves and imports", async () => {
    const load = (query: string) =>
      api.inject({
        method: "POST",
        url: `/images/load${query}`,
        payload: Buffer.alloc(512),
        headers: { "content-type": "application/x-tar" },
      });
    expect((await load("")).body).toBe('{"stream":"Loaded image: loaded:latest\\n"}\r\n');
    expect((await load("?quiet=0")).body).toContain("Loading layer");
    expect((await api.inject({ url: "/images/get?names=busybox&names=loaded" })).body).toBe("busybox,loaded");
    const imported = await api.inject({
      method: "POST",
      url: "/images/create?fromSrc=-&repo=mine&tag=1",
      payload: Buffer.alloc(512),
      headers: { "content-type": "application/tar" },
    });
    expect(imported.body).toContain(`{"status":"${backend.images.resolve("mine:1").id}"}`);
  });

  it("says that a search is not supported", async () => {
    expect((await call("GET", "/images/search?term=x")).status).toBe(501);
  });
});

describe("build", () => {
  const build = (query: string, headers: Record<string, string> = {}) =>
    api.inject({
      method: "POST",
      url: `/build?${query}`,
      payload: Buffer.alloc(1024),
      headers: { "content-type": "application/x-tar", ...headers },
    });

  it("passes every parameter on, and streams output with the image's id", async () => {
    const config = Buffer.from('{"localhost:5000":{"username":"u","password":"p"}}').toString("base64url");
    const args = encodeURIComponent('{"A":"1","B":null}');
    const answer = await build(`t=a:1&t=b&buildargs=${args}&target=x&nocache=1&pull=1&memory=1000&networkmode=none`, {
      "x-registry-config": config,
    });
    expect(answer.body).toContain('{"stream":"Step 1/1 : FROM scratch\\n"}');
    expect(answer.body).toMatch(/\{"aux":\{"ID":"sha256:[0-9a-f]{64}"\}\}/);
    expect(backend.builds[0]).toMatchObject({
      tags: ["a:1", "b"],
      buildArgs: { A: "1", B: null },
      target: "x",
      noCache: true,
      pull: true,
      dockerfile: "Dockerfile",
      networkMode: "none",
      resources: { memory: 1000 },
      auths: { "localhost:5000": { username: "u", password: "p" } },
    });
    const old = await api.inject({
      method: "POST",
      url: "/v1.29/build",
      payload: Buffer.alloc(1),
      headers: { "content-type": "application/x-tar" },
    });
    expect(old.body).not.toContain("aux");
  });

  it("tells a failure at the end of the stream", async () => {
    const answer = await build("target=fail");
    expect(answer.statusCode).toBe(200);
    expect(answer.body).toContain('"error":"the build failed"');
  });

  it.each([
    ["version=3", "version 3 is not supported"],
    ["session=s", "ask for version=2"],
    ["cgroupparent=x", "cgroupparent is not supported"],
    ["outputs=[1]", "outputs is not supported"],
    ["securityopt=x", "security options"],
    ["isolation=hyperv", "unsupported isolation"],
    ["platform=a/b/c/d", "invalid platform"],
    ["shmsize=big", "invalid syntax"],
  ])("refuses %s before it reads the context", async (query, message) => {
    const answer = await build(query);
    expect(answer.statusCode).toBeGreaterThanOrEqual(400);
    expect(answer.body).toContain(message);
    expect(backend.builds).toEqual([]);
  });
});

describe("networks, volumes, system, registries", () => {
  it("takes fields by any case of their names, as Go does", async () => {
    const made = await call("POST", "/networks/create", { name: "any-case", internal: true });
    expect(made.status).toBe(201);
    expect((await call("GET", "/networks/any-case")).json).toMatchObject({ Internal: true, IPAM: { Options: null } });
  });

  it("has networks", async () => {
    const made = await call("POST", "/networks/create", { Name: "n1", IPAM: { Config: [{ Subnet: "10.9.0.0/24" }] } });
    expect(made.status).toBe(201);
    expect((await call("GET", "/networks/n1")).json).toMatchObject({
      Name: "n1",
      Driver: "bridge",
      IPAM: { Config: [{ Subnet: "10.9.0.0/24" }] },
      Containers: {},
    });
    const custom = encodeURIComponent('{"type":["custom"]}');
    expect((await api.inject({ url: `/networks?filters=${custom}` })).json()).toMatchObject([{ Name: "n1" }]);
    const named = async (filters: object): Promise<{ Name: string }[]> =>
      (await api.inject({ url: `/networks?filters=${encodeURIComponent(JSON.stringify(filters))}` })).json();
    expect(await named({ name: ["^n\\d$"] })).toMatchObject([{ Name: "n1" }]);
    expect(await named({ dangling: ["true"] })).toMatchObject([{ Name: "n1" }]);
    expect(await named({ dangling: ["perhaps"] })).toMatchObject({ message: "invalid filter 'dangling=[perhaps]'" });
    expect((await call("DELETE", "/networks/n1")).status).toBe(204);
    expect((await call("POST", "/networks/create", { Name: "n", Driver: "macvlan" })).status).toBe(404);
    expect((await call("POST", "/networks/create", { Name: "n", Ingress: true })).status).toBe(501);
    expect((await call("POST", "/networks/create", {})).status).toBe(400);
  });

  it("has volumes", async () => {
    expect((await call("POST", "/volumes/create", { Name: "v", Labels: { a: "b" } })).status).toBe(201);
    expect((await call("GET", "/volumes")).json).toMatchObject({
      Volumes: [{ Name: "v", Options: null }],
      Warnings: null,
    });
    expect((await call("GET", "/volumes/v")).json).toMatchObject({ Mountpoint: "/volumes/v/_data", Scope: "local" });
    expect((await call("POST", "/volumes/create", { Driver: "nfs" })).status).toBe(404);
    expect((await call("DELETE", "/volumes/v")).status).toBe(204);
    expect((await call("DELETE", "/volumes/v")).status).toBe(404);
    expect((await call("DELETE", "/volumes/v?force=1")).status).toBe(204);
  });

  it("accounts for disk space by type", async () => {
    await create("web");
    const all = (await call("GET", "/system/df")).json;
    expect(all).toMatchObject({ LayersSize: 1234, Containers: [{ SizeRw: 5 }], Volumes: [], BuildCache: [] });
    expect(all).toMatchObject({
      ImageUsage: { TotalCount: 1, ActiveCount: 1, TotalSize: 1234, Reclaimable: 0 },
      ContainerUsage: { TotalCount: 1, ActiveCount: 0, TotalSize: 5, Reclaimable: 5 },
      BuildCacheUsage: { TotalSize: 66, Reclaimable: 66 },
    });
    const images = await api.inject({ url: "/system/df?type=image" });
    expect(Object.keys(images.json<object>())).toEqual(["LayersSize", "Images", "ImageUsage"]);
    expect((await call("GET", "/system/df?type=nope")).status).toBe(400);
  });

  it("tells about itself", async () => {
    await create("web");
    expect((await call("GET", "/info")).json).toMatchObject({
      Containers: 1,
      ContainersStopped: 1,
      Images: 1,
      NCPU: 2,
    });
    expect((await call("GET", "/berth/info")).json).toMatchObject({ tag: "000000", cgroupMode: "hybrid" });
  });

  it("counts the images that a build's steps left, which a list leaves out", async () => {
    const listed = async () => ((await call("GET", "/images/json")).json as readonly unknown[]).length;
    const counted = async () => ((await call("GET", "/info")).json as { readonly Images: number }).Images;
    const before = await listed();
    const [image] = backend.images.records.values();
    if (image === undefined) throw new Error("the fake has no image");
    backend.images.records.set("step", { ...image, id: `sha256:${"5".repeat(64)}`, tags: [], intermediate: true });
    expect([await listed(), await counted()]).toEqual([before, before + 1]);
  });

  it("checks credentials, and asks a registry about a name", async () => {
    expect((await call("POST", "/auth", { username: "u", password: "right" })).json).toEqual({
      Status: "Login Succeeded",
      IdentityToken: "",
    });
    expect((await call("POST", "/auth", { username: "u", password: "wrong" })).status).toBe(400);
    expect((await call("GET", "/distribution/host:5000/a/b:1/json")).json).toMatchObject({
      Descriptor: { size: 7 },
      Platforms: [{ os: "linux" }],
    });
  });

  it.each([
    ["GET", "/swarm", 503],
    ["GET", "/nodes", 503],
    ["GET", "/services/x", 503],
    ["POST", "/secrets/create", 503],
    ["POST", "/swarm/init", 501],
    ["POST", "/session", 400],
    ["GET", "/plugins", 200],
    ["GET", "/plugins/a/b/json", 404],
  ] as const)("answers %s %s with %i", async (method, url, status) => {
    expect((await call(method, url)).status).toBe(status);
  });

  it("gives past events between two moments and ends", async () => {
    await create("one");
    await create("two");
    const [first, second] = backend.events.recent().map(({ timeNano }) => timeNano);
    const moment = (nano = "0") => `${nano.slice(0, -9)}.${nano.slice(-9)}`;
    const both = await api.inject({ url: `/events?since=${moment(first)}&until=${moment(second)}` });
    expect(both.body.trim().split("\n")).toHaveLength(2);
    const one = await api.inject({ url: `/events?until=${moment(first)}` });
    expect(one.body.trim().split("\n")).toHaveLength(1);
    expect((await call("GET", "/events?since=2&until=1")).status).toBe(400);
  });
});

describe("errors", () => {
  it("answers a bug with 500 and logs it with its cause", async () => {
    backend.instances.resolve = () => {
      throw new Error("a bug", { cause: new Error("deep") });
    };
    const { status, json } = await call("GET", "/containers/x/json");
    expect(status).toBe(500);
    expect(json).toEqual({ message: "a bug" });
    expect(errors.splice(0)).toMatchObject([{ error: "a bug", cause: ["deep"], url: "/containers/x/json" }]);
  });
});
