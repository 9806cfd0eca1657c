import { expect, test } from "vitest";
import { parseReference } from "../reference.ts";
import { RegistryCertificates } from "./certificates.ts";
import { Endpoints } from "./endpoints.ts";

function endpoints(config: { readonly mirrors?: string[]; readonly insecure?: string[] } = {}): Endpoints {
  const { mirrors = [], insecure = [] } = config;
  return new Endpoints(
    { registryMirrors: mirrors, insecureRegistries: insecure },
    new RegistryCertificates("/nowhere"),
  );
}

test.each([
  ["127.0.0.1:5000/a", true],
  ["127.9.9.9/a", true],
  ["localhost:5000/a", true],
  ["[::1]:5000/a", true],
  ["r.example/a", false],
  ["10.1.2.3:5000/a", true],
  ["10.2.2.3:5000/a", false],
  ["named.example:5000/a", true],
  ["named.example:5001/a", false],
])("%s is insecure: %s", async (text, insecure) => {
  const endpoint = await endpoints({ insecure: ["10.1.0.0/16", "named.example:5000"] }).forPush(parseReference(text));
  expect(endpoint.insecure).toBe(insecure);
  expect(endpoint.tls.verify).toBe(!insecure);
});

test("mirrors are for docker.io unless they name another registry, and never for pushes", async () => {
  const subject = endpoints({
    mirrors: ["https://user:pa%3Ass@m.example/cache/", "http://plain.example:5000", "quay.io=http://127.0.0.1:5001"],
  });
  const pull = await subject.forPull(parseReference("debian"));
  expect(pull.map(({ url, insecure, mirror, auth }) => [url.href, insecure, mirror, auth])).toEqual([
    ["https://m.example/cache/", false, true, { username: "user", password: "pa:ss" }],
    ["http://plain.example:5000/", true, true, undefined],
    ["https://registry-1.docker.io/", false, false, undefined],
  ]);
  expect(await subject.forPull(parseReference("r.example/debian"))).toHaveLength(1);
  const other = await subject.forPull(parseReference("quay.io/a/b"));
  expect(other.map(({ url, mirror }) => [url.href, mirror])).toEqual([
    ["http://127.0.0.1:5001/", true],
    ["https://quay.io/", false],
  ]);
  expect((await subject.forPush(parseReference("debian"))).mirror).toBe(false);
});
