import { array, assert, constantFrom, property, stringMatching, tuple } from "fast-check";
import { describe, expect, test } from "vitest";
import { familiar, formatFamiliar, formatReference, parseReference, withDefaultTag } from "./reference.ts";

const HEX = "0123456789abcdef".repeat(4);
const DIGEST = `sha256:${HEX}`;

describe("references as Docker normalises them", () => {
  test.each([
    ["debian", "docker.io/library/debian", "debian"],
    ["debian:bookworm", "docker.io/library/debian:bookworm", "debian:bookworm"],
    ["user/app", "docker.io/user/app", "user/app"],
    ["docker.io/debian", "docker.io/library/debian", "debian"],
    ["index.docker.io/library/debian:1", "docker.io/library/debian:1", "debian:1"],
    ["docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1"],
    ["localhost/app", "localhost/app", "localhost/app"],
    ["localhost:5000/a/b:1.2-x_y", "localhost:5000/a/b:1.2-x_y", "localhost:5000/a/b:1.2-x_y"],
    ["[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"],
    ["Upper/app", "Upper/app", "Upper/app"],
    [`debian@${DIGEST}`, `docker.io/library/debian@${DIGEST}`, `debian@${DIGEST}`],
    [`debian:1@${DIGEST}`, `docker.io/library/debian:1@${DIGEST}`, `debian:1@${DIGEST}`],
    ["u/a--b__c.d/e", "docker.io/u/a--b__c.d/e", "u/a--b__c.d/e"],
  ])("%s is %s", (text, full, short) => {
    const reference = parseReference(text);
    expect(formatReference(reference)).toBe(full);
    expect(formatFamiliar(reference)).toBe(short);
  });

  test.each([
    ["", "invalid reference format"],
    ["UPPER", "invalid reference format: repository name (library/UPPER) must be lowercase"],
    ["host.io/Name", "invalid reference format: repository name (Name) must be lowercase"],
    ["a..b", "invalid reference format"],
    ["a:", "invalid reference format"],
    ["a:b c", "invalid reference format"],
    ["-a", "invalid reference format"],
    ["a//b", "invalid reference format"],
    ["a@sha256:12", "invalid reference format"],
    ["../etc/passwd", "invalid reference format"],
    [`a:${"t".repeat(129)}`, "invalid reference format"],
    ["n".repeat(300), "invalid reference format: repository name must not be more than 255 characters"],
    [HEX, `invalid reference format: invalid repository name (${HEX}), cannot specify 64-byte hexadecimal strings`],
  ])("%s is refused", (text, message) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ message, status: 400 }));
  });

  test("a tag is filled in only where there is neither tag nor digest", () => {
    expect(withDefaultTag(parseReference("a")).tag).toBe("latest");
    expect(withDefaultTag(parseReference("a:1")).tag).toBe("1");
    expect(withDefaultTag(parseReference(`a@${DIGEST}`)).tag).toBeUndefined();
  });

  test("the familiar form means the same as the full one", () => {
    const part = stringMatching(/^[a-z0-9]{1,8}$/);
    const text = tuple(
      constantFrom("", "docker.io/", "docker.io/library/", "r.example:5000/"),
      array(part, { minLength: 1, maxLength: 3 }),
      part,
    ).map(([domain, path, tag]) => `${domain}${path.join("/")}:${tag}`);
    assert(
      property(text, (text) => {
        const full = formatReference(parseReference(text));
        expect(formatReference(parseReference(familiar(full)))).toBe(full);
        expect(formatReference(parseReference(full))).toBe(full);
      }),
    );
  });
});
