import { describe, expect, it } from "vitest";
import { parseWords } from "../../parse-words.ts";
import { create, createBody } from "./create.ts";

const bodyOf = (...words: readonly (readonly string[])[]) => {
  const parsed = parseWords(create, "machine create", ["web1", ...words.flat()]);
  return createBody("web1", parsed.values as Parameters<typeof createBody>[1]);
};

describe("createBody", () => {
  it("reads sizes, choices, cards, ports and cloud-init", () => {
    const body = bodyOf(
      ["--image", "debian:bookworm", "--cpus", "2", "--memory", "2GiB", "--disk", "20GiB", "--os", "linux"],
      ["--network", "lan", "--nic", "dmz,model=e1000,mac=52:54:00:00:00:02,ip=10.0.0.3", "--ip", "10.1.0.2"],
      ["-p", "127.0.0.1:8080:80", "--user", "ada", "--ssh-key", "ssh-ed25519 AAAA ada@here", "--no-tpm", "--start"],
    );
    expect(body).toMatchObject({
      name: "web1",
      image: "debian:bookworm",
      cpus: 2,
      memory: 2 * 1024 ** 3,
      disk: 20 * 1024 ** 3,
      tpm: false,
      start: true,
      nics: [
        { network: "lan", address: "10.1.0.2" },
        { network: "dmz", model: "e1000", mac: "52:54:00:00:00:02", address: "10.0.0.3" },
      ],
      ports: [{ containerPort: 80, protocol: "tcp", hostIp: "127.0.0.1", hostPort: 8080 }],
      cloudInit: { user: { name: "ada", sshKeys: ["ssh-ed25519 AAAA ada@here"] } },
    });
  });

  it("leaves to the engine what is not stated", () => {
    expect(bodyOf(["--image", "x"])).toEqual({ name: "web1", image: "x", ports: [], labels: {}, start: false });
    expect(bodyOf(["--image", "x", "--network", "none"]).nics).toEqual([]);
    expect(bodyOf(["--image", "x", "--mac", "52:54:00:00:00:07"]).nics).toEqual([
      { network: "bridge", mac: "52:54:00:00:00:07" },
    ]);
  });

  it.each([
    [["--memory", "lots"], /a size such as 2GiB/],
    [["--os", "beos"], /one of linux, windows, other/],
    [["--nic", "lan,speed=10"], /NETWORK\[,model/],
    [["--ssh-key", "k"], /--user says whose/],
    [["--cloud-init", "/no/such"], /no such file/i],
  ])("refuses %j", (words, message) => {
    expect(() => bodyOf(words)).toThrow(message);
  });
});
