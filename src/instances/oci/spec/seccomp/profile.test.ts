import { describe, expect, it } from "vitest";
import { resolveSeccomp } from "./profile.ts";

const host = { architecture: "amd64", kernelRelease: "6.1.0-18-amd64" };
const admin = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"];

function rulesFor(name: string, capabilities: readonly string[], machine = host) {
  return (resolveSeccomp("default", machine, capabilities)?.syscalls ?? []).filter((rule) => rule.names.includes(name));
}

describe("the default profile", () => {
  it("refuses with EPERM what no rule lets through", () => {
    expect(resolveSeccomp("default", host, [])).toMatchObject({
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 1,
      architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    });
    for (const name of ["keyctl", "add_key", "kexec_load", "userfaultfd", "io_uring_setup", "swapon"]) {
      expect(rulesFor(name, admin)).toEqual([]);
    }
  });

  it("opens with capabilities", () => {
    expect(rulesFor("mount", [])).toEqual([]);
    expect(rulesFor("mount", admin)).toHaveLength(1);
    expect(rulesFor("chroot", ["CAP_SYS_CHROOT"])).toHaveLength(1);
  });

  it("lets clone make no namespaces without CAP_SYS_ADMIN, and hides clone3", () => {
    expect(rulesFor("clone", [])).toEqual([
      {
        names: ["clone"],
        action: "SCMP_ACT_ALLOW",
        args: [{ index: 0, value: 0x7e020000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
      },
    ]);
    expect(rulesFor("clone3", [])).toEqual([{ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }]);
    expect(rulesFor("clone3", admin).map((rule) => rule.action)).toEqual(["SCMP_ACT_ALLOW"]);
  });

  it("depends on machine and kernel", () => {
    expect(rulesFor("arch_prctl", [])).toHaveLength(1);
    expect(rulesFor("arch_prctl", [], { ...host, architecture: "arm64" })).toEqual([]);
    expect(rulesFor("ptrace", [], { ...host, kernelRelease: "4.4.0" })).toEqual([]);
  });

  it("has every name once among the unconditional ones", () => {
    const [first] = resolveSeccomp("default", host, [])?.syscalls ?? [];
    expect(first?.names.length).toBe(361);
    expect(new Set(first?.names).size).toBe(361);
  });
});

describe("a profile in Docker's format", () => {
  const own = (profile: object) => resolveSeccomp(JSON.stringify(profile), host, admin);

  it("filters rules by includes and excludes", () => {
    const rule = (name: string, more: object) => ({ names: [name], action: "SCMP_ACT_ALLOW", ...more });
    const names = own({
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [
        rule("plain", {}),
        rule("with-cap", { includes: { caps: ["CAP_SYS_ADMIN"] } }),
        rule("without-cap", { excludes: { caps: ["CAP_SYS_ADMIN"] } }),
        rule("missing-cap", { includes: { caps: ["CAP_BPF"] } }),
        rule("other-machine", { includes: { arches: ["s390x"] } }),
        rule("new-kernel", { includes: { minKernel: "9.0" } }),
        rule("old-kernel", { excludes: { minKernel: "9.0" } }),
        { name: "single", action: "SCMP_ACT_LOG", args: null },
      ],
    })?.syscalls.flatMap((one) => one.names);
    expect(names).toEqual(["plain", "with-cap", "old-kernel", "single"]);
  });

  it("takes architectures from the map", () => {
    const archMap = [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] }];
    expect(own({ defaultAction: "SCMP_ACT_ALLOW", archMap })?.architectures).toEqual([
      "SCMP_ARCH_X86_64",
      "SCMP_ARCH_X86",
    ]);
  });

  it("is no filter when it says nothing, or is unconfined", () => {
    expect(own({})).toBeUndefined();
    expect(resolveSeccomp("unconfined", host, [])).toBeUndefined();
  });

  it.each([
    ["not JSON", "{"],
    ["of another shape", '{"syscalls": 5}'],
    ["contradictory", '{"syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}'],
  ])("is refused when it is %s", (_, text) => {
    expect(() => resolveSeccomp(text, host, [])).toThrow("Decoding seccomp profile failed");
  });
});
