import { describe, expect, it } from "vitest";
import { parseWords } from "../../parse-words.ts";
import { createBody, type CreateValues } from "./create-body.ts";
import { parseMount } from "./parse-mount.ts";
import { parsePorts } from "./parse-ports.ts";
import { create } from "./run.ts";

const body = (...words: string[]) => {
  const parsed = parseWords(create, "create", [...words, "image", "cmd"]);
  const [image = "", ...command] = parsed.words;
  const attach = { stdin: false, stdout: true, stderr: true };
  return createBody(image, command, parsed.values as unknown as CreateValues, {
    environment: { HOME: "/root" },
    attach,
  });
};

describe("createBody", () => {
  it("says what the user said, and nothing for what was left out", () => {
    expect(
      body("-e", "A=1", "-e", "HOME", "-e", "UNSET", "-m", "64m", "--cpus", "1.5", "--restart", "on-failure:3"),
    ).toMatchObject({
      Image: "image",
      Cmd: ["cmd"],
      Env: ["A=1", "HOME=/root"],
      HostConfig: {
        Memory: 67_108_864,
        NanoCpus: 1_500_000_000,
        RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
      },
    });
    expect(body()["HostConfig"]).not.toHaveProperty("Memory");
    expect(body()).not.toHaveProperty("Healthcheck");
  });

  it("sends requests as labels, which docker's client can set as well", () => {
    expect(body("--request-memory", "256m", "--request-cpus", "0.5", "--request-pids", "9", "-l", "a=b")).toMatchObject(
      {
        Labels: { a: "b", "berth.request.memory": "256m", "berth.request.cpus": "0.5", "berth.request.pids": "9" },
      },
    );
    expect(body()["Labels"]).toEqual({});
  });

  it("puts names and addresses on the first network", () => {
    expect(
      body("--network", "a", "--network", "name=b,ip=10.0.0.9", "--ip", "10.1.0.5", "--network-alias", "db"),
    ).toMatchObject({
      HostConfig: { NetworkMode: "a" },
      NetworkingConfig: {
        EndpointsConfig: {
          a: { Aliases: ["db"], IPAMConfig: { IPv4Address: "10.1.0.5" } },
          b: { IPAMConfig: { IPv4Address: "10.0.0.9" } },
        },
      },
    });
  });

  it("tells volumes from binds, and devices from their modes", () => {
    expect(
      body("-v", "/anonymous", "-v", "named:/data:ro", "--device", "/dev/null:rw", "--device", "/dev/a:/dev/b:r"),
    ).toMatchObject({
      Volumes: { "/anonymous": {} },
      HostConfig: {
        Binds: ["named:/data:ro"],
        Devices: [
          { PathOnHost: "/dev/null", PathInContainer: "/dev/null", CgroupPermissions: "rw" },
          { PathOnHost: "/dev/a", PathInContainer: "/dev/b", CgroupPermissions: "r" },
        ],
      },
    });
  });

  it("reads health checks in Go's durations", () => {
    expect(body("--health-cmd", "true", "--health-interval", "1m30s", "--health-retries", "2")).toMatchObject({
      Healthcheck: { Test: ["CMD-SHELL", "true"], Interval: 90e9, Retries: 2 },
    });
    expect(body("--no-healthcheck")).toMatchObject({ Healthcheck: { Test: ["NONE"] } });
  });

  it.each([
    [["-m", "much"], /--memory/],
    [["--cpus", "two"], /--cpus/],
    [["--restart", "on-failure:x"], /--restart/],
    [["--ulimit", "nofile"], /--ulimit/],
    [["--health-interval", "soon"], /--health-interval/],
    [["--env-file", "/nonexistent"], /cannot read \/nonexistent/],
    [["--security-opt", "seccomp=/nonexistent.json"], /cannot read \/nonexistent\.json/],
  ])("refuses %j by the option's name", (words, message) => expect(() => body(...words)).toThrow(message));
});

describe("parsePorts", () => {
  it.each([
    ["80", { "80/tcp": [{ HostIp: "", HostPort: "" }] }],
    ["8080:80/udp", { "80/udp": [{ HostIp: "", HostPort: "8080" }] }],
    ["127.0.0.1:8080:80", { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080" }] }],
    ["127.0.0.1::80", { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] }],
    ["[::1]:8080:80", { "80/tcp": [{ HostIp: "::1", HostPort: "8080" }] }],
    ["8000-8010:80", { "80/tcp": [{ HostIp: "", HostPort: "8000-8010" }] }],
    ["8000-8001:80-81", { "80/tcp": [{ HostIp: "", HostPort: "8000" }], "81/tcp": [{ HostIp: "", HostPort: "8001" }] }],
  ])("reads %s", (word, bindings) => expect(parsePorts([word], []).bindings).toEqual(bindings));

  it.each(["", "web", "80:", "99999:80", "8000-8002:80-81", "90-80:1", "1:2:3:4:5"])("refuses %j", (word) =>
    expect(() => parsePorts([word], [])).toThrow(/for --publish/),
  );
});

describe("parseMount", () => {
  it("reads docker's fields", () => {
    expect(parseMount("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave")).toEqual({
      Type: "bind",
      Source: "/a",
      Target: "/b",
      ReadOnly: true,
      BindOptions: { Propagation: "rslave" },
    });
    expect(parseMount("type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770")).toEqual({
      Type: "tmpfs",
      Target: "/t",
      TmpfsOptions: { SizeBytes: 67_108_864, Mode: 0o1770 },
    });
    expect(parseMount("src=v,dst=/d,volume-opt=type=nfs,volume-opt=o=addr=1,volume-nocopy")).toEqual({
      Type: "volume",
      Source: "v",
      Target: "/d",
      VolumeOptions: { NoCopy: true, DriverConfig: { Options: { type: "nfs", o: "addr=1" } } },
    });
  });

  it.each([
    "type=bind,source=/a",
    "target=/b,nosuch=1",
    "target=/b,readonly=maybe",
    "type=tmpfs,target=/t,tmpfs-mode=9",
  ])("refuses %s", (word) => expect(() => parseMount(word)).toThrow(/for --mount/));
});
