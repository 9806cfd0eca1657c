import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BerthError } from "../base/errors.ts";
import type { Instruction } from "./instruction.ts";
import { findStage, parseDockerfile } from "./parse.ts";

/** The only instruction after a FROM. */
function one(text: string): Instruction {
  const [stage] = parseDockerfile(`FROM x\n${text}`).stages;
  const [instruction, ...more] = stage?.instructions ?? [];
  if (instruction === undefined || more.length > 0) throw new Error(`not one instruction: ${text}`);
  return instruction;
}

describe("parseDockerfile: lines", () => {
  it("joins continuation lines, skipping comments and warning of blanks", () => {
    const parsed = parseDockerfile("FROM x\nRUN a && \\\n  # comment\n\n  b \\  \n  && c\nUSER u\n");
    expect(parsed.stages[0]?.instructions).toMatchObject([
      { text: "RUN a &&   b   && c", position: { line: 2, endLine: 6 } },
      { text: "USER u", position: { line: 7 } },
    ]);
    expect(parsed.warnings[0]).toContain("Empty continuation line");
  });

  it("knows its directives, and that they end with the first other line", () => {
    const parsed = parseDockerfile("# syntax=docker/dockerfile:1\n#escape = `\nFROM x\nRUN a `\n b\nWORKDIR c:\\\n");
    expect(parsed.escape).toBe("`");
    expect(parsed.stages[0]?.instructions.map(({ text }) => text)).toEqual(["RUN a  b", "WORKDIR c:\\"]);
    expect(parseDockerfile("# a comment\n# escape=`\nFROM x\n").escape).toBe("\\");
    expect(parseDockerfile("\n# escape=`\nFROM x\n").escape).toBe("\\");
  });

  it("takes a byte order mark, carriage returns and instructions in any case", () => {
    const parsed = parseDockerfile("\uFEFFfrom x as Base\r\nrun echo a\\\r\n b\r\n");
    expect(parsed.stages[0]).toMatchObject({
      from: { base: "x", stageName: "base" },
      instructions: [{ kind: "run", text: "run echo a b" }],
    });
  });

  it("keeps a backslash that is itself escaped at a line's end", () => {
    const parsed = parseDockerfile("FROM x\nRUN echo a\\\\\nUSER u\n");
    expect(parsed.stages[0]?.instructions.map(({ kind }) => kind)).toEqual(["run", "user"]);
  });

  it("splits stages and arguments before the first", () => {
    const parsed = parseDockerfile(
      "ARG V=1\nFROM a:$V AS one\nRUN x\nFROM --platform=linux/arm64 b\nCOPY --from=one /x /\n",
    );
    expect(parsed.metaArgs).toMatchObject([{ args: [{ name: "V", value: "1" }] }]);
    expect(parsed.stages.map(({ from }) => from)).toMatchObject([
      { base: "a:$V", stageName: "one", platform: "" },
      { base: "b", stageName: "", platform: "linux/arm64" },
    ]);
    expect([findStage(parsed.stages, "ONE"), findStage(parsed.stages, "1"), findStage(parsed.stages, "2")]).toEqual([
      0,
      1,
      undefined,
    ]);
  });
});

describe("parseDockerfile: heredocs", () => {
  it("reads several, with tabs chomped and quoted delimiters literal", () => {
    const copy = one("COPY <<a.txt <<-'b' <<\"d\" plain /dir/\n$X\na.txt\n\tin\n\t\tb\n\nd\n");
    expect(copy).toMatchObject({
      kind: "copy",
      sources: ["plain"],
      destination: "/dir/",
      inlineFiles: [
        { name: "a.txt", content: "$X\n", expand: true },
        { name: "b", content: "in\n", expand: false },
        { name: "d", content: "\n", expand: false },
      ],
    });
  });

  it("gives RUN its script, also behind ONBUILD", () => {
    expect(one("RUN <<EOF\necho a # not a comment\n\nEOF\n")).toMatchObject({
      command: { form: "shell", line: "<<EOF" },
      heredocs: [{ name: "EOF", content: "echo a # not a comment\n\n" }],
    });
    expect(one("ONBUILD RUN <<EOF\na\nEOF\n")).toMatchObject({ trigger: "RUN <<EOF\na\nEOF" });
  });

  it("finds none in JSON form, in arithmetic, in here-strings or in other instructions", () => {
    expect(one('RUN ["sh", "-c", "cat <<EOF"]')).toMatchObject({ kind: "run", heredocs: [] });
    expect(one("RUN cat <<<word")).toMatchObject({ heredocs: [] });
    expect(one("CMD cat <<EOF")).toMatchObject({ kind: "cmd" });
    expect(one("RUN echo '<<EOF'")).toMatchObject({ heredocs: [] });
  });
});

describe("parseDockerfile: instructions", () => {
  it.each([
    ["CMD echo $HOME", { kind: "cmd", command: { form: "shell", line: "echo $HOME" } }],
    ['CMD ["a", "b c"]', { kind: "cmd", command: { form: "exec", words: ["a", "b c"] } }],
    ["CMD ['a']", { kind: "cmd", command: { form: "shell", line: "['a']" } }],
    ["ENTRYPOINT []", { kind: "entrypoint", command: { form: "exec", words: [] } }],
    ["ENV a b  c", { kind: "env", pairs: [{ key: "a", value: "b  c" }] }],
    [
      "ENV a=b c='d e' f=g\\ h",
      {
        pairs: [
          { key: "a", value: "b" },
          { key: "c", value: "'d e'" },
          { key: "f", value: "g\\ h" },
        ],
      },
    ],
    ["LABEL a.b=c", { kind: "label", pairs: [{ key: "a.b", value: "c" }] }],
    [
      "ARG a b=c",
      {
        kind: "arg",
        args: [
          { name: "a", value: undefined },
          { name: "b", value: "c" },
        ],
      },
    ],
    ["EXPOSE 80 53/udp", { kind: "expose", ports: ["53/udp", "80"] }],
    ["VOLUME /a /b", { kind: "volume", paths: ["/a", "/b"] }],
    ['VOLUME ["/a b"]', { kind: "volume", paths: ["/a b"] }],
    ["STOPSIGNAL SIGTERM", { kind: "stopsignal", value: "SIGTERM" }],
    ["WORKDIR /a b", { kind: "workdir", value: "/a b" }],
    ["MAINTAINER Jane <j@example.org>", { kind: "maintainer", value: "Jane <j@example.org>" }],
    ['SHELL ["/bin/bash", "-c"]', { kind: "shell", shell: ["/bin/bash", "-c"] }],
    ["HEALTHCHECK NONE", { check: { Test: ["NONE"] } }],
    [
      'HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD ["x"]',
      { check: { Test: ["CMD", "x"], Interval: 90e9, Timeout: 5e8, Retries: 3 } },
    ],
    [
      "COPY --chown=a:b --chmod=755 --link x y /z",
      { kind: "copy", sources: ["x", "y"], destination: "/z", chown: "a:b", chmod: "755", link: true },
    ],
    ["COPY --parents --exclude=*.md --exclude=x a /b", { parents: true, excludes: ["*.md", "x"] }],
    ["ADD --checksum=sha256:0 http://h/f /f", { kind: "add", checksum: "sha256:0", sources: ["http://h/f"] }],
    ['ADD ["a b", "c d/"]', { sources: ["a b"], destination: "c d/" }],
    [
      "RUN --network=none --mount=type=cache,target=/x make",
      {
        network: "none",
        buildKitFlags: [],
        mounts: [[{ key: "type" }, { key: "target", value: "/x" }]],
        command: { line: "make" },
      },
    ],
    ["RUN --mount=type=cache,target=/x -- --odd", { command: { line: "--odd" } }],
    ["ONBUILD COPY . /src", { kind: "onbuild", trigger: "COPY . /src" }],
  ])("%s", (text, expected) => {
    expect(one(text)).toMatchObject(expected);
  });

  it.each([
    ["FRO x", "unknown instruction: FRO (did you mean FROM?)"],
    ["frmo x", "unknown instruction: frmo (did you mean from?)"],
    ["XYZZY", "unknown instruction: XYZZY"],
    ["FROM", "FROM requires either one or three arguments"],
    ["FROM a b", "FROM requires either one or three arguments"],
    ["FROM a AS 1x", 'invalid name for build stage: "1x", name can\'t start with a number'],
    ["COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"],
    ["COPY --form=x a b", "unknown flag: --form (did you mean from?)"],
    ["COPY --from=x --from=y a b", "duplicate flag specified: --from"],
    ["COPY --from a b", "missing a value on flag: --from"],
    ["COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"],
    ["ADD a <<EOF\nEOF", "ADD cannot accept a heredoc as a destination"],
    ["ENV a", "ENV must have two arguments"],
    ["ENV a=b c", `can't find = in "c". Must be of the form: name=value`],
    ["ENV", "ENV requires at least one argument"],
    ["LABEL =x", "LABEL names can not be blank"],
    ["ARG =x", "ARG names can not be blank"],
    ["EXPOSE", "EXPOSE requires at least one argument"],
    ["USER", "USER requires exactly one argument"],
    ["SHELL /bin/sh", "SHELL requires the arguments to be in JSON form"],
    ["CMD [1]", "arrays must be comprised of strings only"],
    ["HEALTHCHECK x", 'Unknown type "X" in HEALTHCHECK (try CMD)'],
    ["HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"],
    ["HEALTHCHECK --interval=5 CMD x", 'invalid duration "5"'],
    ["HEALTHCHECK --interval=1us CMD x", "cannot be less than 1ms"],
    ["ONBUILD ONBUILD RUN x", "Chaining ONBUILD"],
    ["ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"],
    ["ONBUILD FRO x", "unknown instruction: FRO"],
    ["RUN <<EOF\nnever closed", "unterminated heredoc"],
    ["RUN", "RUN requires at least one argument"],
    ["RUN --network=bridge x", 'invalid network mode "bridge"'],
  ])("%j is refused: %s", (text, reason) => {
    expect(() => parseDockerfile(`FROM x\n# comment\n${text}\n`, "web.dockerfile")).toThrow(
      expect.objectContaining({
        code: "DOCKERFILE_INVALID",
        status: 400,
        message: expect.stringContaining(
          `failed to parse web.dockerfile: dockerfile parse error on line 3: ${reason}`.slice(0, -reason.length),
        ),
      }),
    );
    expect(() => parseDockerfile(`FROM x\n# comment\n${text}\n`)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(reason) }),
    );
  });

  it("refuses a file without stages, with two stages of one name, with instructions before FROM", () => {
    expect(() => parseDockerfile(" \n")).toThrow("the Dockerfile (Dockerfile) cannot be empty");
    expect(() => parseDockerfile("# only a comment\n")).toThrow("file with no instructions");
    expect(() => parseDockerfile("ARG A\n")).toThrow("no FROM");
    expect(() => parseDockerfile("RUN x\n")).toThrow("line 1: no build stage in current context");
    expect(() => parseDockerfile("FROM x AS a\nFROM y AS A\n")).toThrow("line 2: a stage name already used");
    expect(() => parseDockerfile("# escape=x\nFROM a")).toThrow("line 1: invalid escape token 'x'");
    expect(() => parseDockerfile("# escape=`\n# escape=`\nFROM a")).toThrow("line 2: only one escape parser directive");
    expect(() => parseDockerfile(`FROM x\nRUN ${"a".repeat(70_000)}`)).toThrow("line 2: dockerfile line greater than");
  });

  it("never throws anything but its own errors", () => {
    const words =
      "FROM x|RUN |COPY |ENV |ARG |ONBUILD |HEALTHCHECK |EXPOSE |SHELL |--from=|--|<<EOF|EOF|# escape=`\n|\\\n";
    const piece = fc.constantFrom(...words.split("|"), ...`a= []"'\\#\${}\t\n`.split(""));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        try {
          parseDockerfile(pieces.join(""));
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
