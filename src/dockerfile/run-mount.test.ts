import { describe, expect, it } from "vitest";
import { expandInstruction } from "./expand-instruction.ts";
import { instructionSources } from "./instruction-sources.ts";
import { parseSingleInstruction } from "./parse.ts";
import { parseMount, type RunMount } from "./run-mount.ts";

/** The mounts of a RUN with these options, variables expanded. */
function mountsOf(flags: string, variables: Readonly<Record<string, string>> = {}): readonly RunMount[] {
  const instruction = parseSingleInstruction(`RUN ${flags} make`, "Dockerfile");
  if (instruction.kind !== "run") throw new Error(instruction.kind);
  return expandInstruction(instruction, { escape: "\\", lookup: (name) => variables[name] }).mounts.map(parseMount);
}

const plain = { mode: undefined, uid: undefined, gid: undefined };

describe("RUN --mount", () => {
  it.each<[string, object]>([
    ["--mount=target=.", { type: "bind", target: ".", from: "", source: "", readOnly: true }],
    [
      "--mount=type=BIND,dst=/a,src=b,from=c,rw",
      { type: "bind", target: "/a", from: "c", source: "b", readOnly: false },
    ],
    ["--mount=destination=/a,readwrite=false", { readOnly: true }],
    [
      "--mount=type=cache,target=/c",
      {
        type: "cache",
        target: "/c",
        id: "",
        from: "",
        source: "",
        readOnly: false,
        sharing: "shared",
        attributes: plain,
      },
    ],
    [
      "--mount=mode=1750,uid=10,gid=20,sharing=locked,id=x,target=/c,ro,type=cache",
      { type: "cache", id: "x", readOnly: true, sharing: "locked", attributes: { mode: 0o1750, uid: 10, gid: 20 } },
    ],
    ["--mount=type=tmpfs,target=/t", { type: "tmpfs", target: "/t", readOnly: false, sizeBytes: 0 }],
    ["--mount=type=tmpfs,target=/t,size=64m", { sizeBytes: 64 << 20 }],
    [
      "--mount=type=secret,id=a/key",
      { type: "secret", id: "a/key", target: "/run/secrets/key", env: "", required: false, attributes: plain },
    ],
    ["--mount=type=secret,target=/etc/pass,required", { id: "pass", target: "/etc/pass", required: true }],
    ["--mount=type=secret,source=s,env=TOKEN", { id: "s", target: "", env: "TOKEN" }],
    ["--mount=type=secret,id=s,env=TOKEN,target=/s,required=0", { target: "/s", env: "TOKEN", required: false }],
    ["--mount=type=ssh", { type: "ssh", id: "default", target: "", required: false, attributes: plain }],
    ["--mount=type=ssh,id=x,target=/s,mode=0666,required=true", { id: "x", target: "/s", required: true }],
    [`--mount='"target=/a,b",source=c'`, { target: "/a,b", source: "c" }],
  ])("reads %s", (flags, expected) => {
    expect(mountsOf(flags)).toMatchObject([expected]);
  });

  it("reads several, and expands their variables", () => {
    const mounts = mountsOf("--mount=type=$TYPE,target=/$NAME/x --mount=source=${NAME:-y},target=/b", {
      TYPE: "tmpfs",
      NAME: "n",
    });
    expect(mounts).toMatchObject([
      { type: "tmpfs", target: "/n/x" },
      { type: "bind", source: "n", target: "/b" },
    ]);
  });

  it("names the stages and images that it takes files from, each once", () => {
    const instruction = parseSingleInstruction(
      "RUN --mount=from=a,target=/a --mount=target=/b --mount=type=cache,from=b,target=/c --mount=from=a,target=/d x",
      "Dockerfile",
    );
    if (instruction.kind === "from") throw new Error(instruction.kind);
    expect(instructionSources(instruction)).toEqual(["a", "b"]);
  });

  it.each([
    ["--mount=type=cach,target=/x", 'unsupported mount type "cach" (did you mean cache?)'],
    ["--mount=type=volume,target=/x", 'unsupported mount type "volume" (it is one of bind, cache, tmpfs, secret, ssh)'],
    ["--mount=type=cache", "a cache mount needs a target: --mount=type=cache,target=/path"],
    ["--mount=type=tmpfs,target=", "a tmpfs mount needs a target"],
    ["--mount=target=/x,dst=/y", "duplicate key in 'target=/x,dst=/y': 'target' and 'dst' are the same option"],
    ["--mount=target=/x,target=/y", "'target' is given twice"],
    ["--mount=traget=/x", "unexpected key 'traget' in 'traget=/x' (did you mean target?)"],
    ["--mount=target", "invalid field 'target' must be a key=value pair"],
    ["--mount=from=$BASE,target=/x", "'from' doesn't support variable expansion, define alias stage instead"],
    ["--mount=target=/x,size=1m", "unexpected key 'size' for mount type 'bind'"],
    ["--mount=target=/x,required", "unexpected key 'required' for mount type 'bind'"],
    ["--mount=target=/x,uid=1", 'uid not allowed for "bind" type mounts'],
    ["--mount=type=tmpfs,target=/x,mode=1", 'mode not allowed for "tmpfs" type mounts'],
    ["--mount=target=/x,sharing=locked", "invalid cache sharing set for bind mount"],
    [
      "--mount=type=cache,target=/x,sharing=open",
      'unsupported sharing value "open" (it is one of shared, private, locked)',
    ],
    ["--mount=type=cache,target=/x,mode=999", "invalid value 999 for mode"],
    ["--mount=type=cache,target=/x,uid=-1", "invalid value -1 for uid"],
    ["--mount=type=cache,target=/x,ro=maybe", "invalid value for readonly: maybe"],
    ["--mount=type=cache,target=/x,ro,rw", "readonly and readwrite can't both be set"],
    ["--mount=type=tmpfs,target=/x,size=big", "invalid value for size: big"],
    ["--mount=type=secret", "invalid secret mount. one of source, target required"],
    ["--mount=type=secret,id=a,src=b", "both source and id can't be set"],
    ["--mount=type=secret,id=a,from=b", "secret mount should not have a from"],
    ["--mount=type=secret,id=a,rw", "a secret mount is read-only"],
    ["--mount=type=secret,id=a,env=A-B", 'invalid value "A-B" for env'],
    ["--mount=type=ssh,source=x", "ssh does not support source"],
    ["--mount", "missing a value on flag: --mount"],
  ])("refuses %s where it stands", (flags, reason) => {
    expect(() => parseSingleInstruction(`RUN ${flags} make`, "Dockerfile")).toThrow(reason);
  });

  it("refuses after expansion what it could not before", () => {
    expect(() => mountsOf("--mount=type=$TYPE,target=/x", { TYPE: "bnid" })).toThrow(
      'unsupported mount type "bnid" (did you mean bind?)',
    );
  });
});
