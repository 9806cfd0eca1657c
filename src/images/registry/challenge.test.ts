import { expect, test } from "vitest";
import { parseChallenges } from "./challenge.ts";

test.each([
  [
    'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
    [
      {
        scheme: "bearer",
        parameters: {
          realm: "https://auth.example/token",
          service: "registry.example",
          scope: "repository:a/b:pull,push",
        },
      },
    ],
  ],
  [
    'Basic realm="a \\"quoted\\" one", Bearer realm=plain , service=x',
    [
      { scheme: "basic", parameters: { realm: 'a "quoted" one' } },
      { scheme: "bearer", parameters: { realm: "plain", service: "x" } },
    ],
  ],
  ["Negotiate", [{ scheme: "negotiate", parameters: {} }]],
  ["", []],
  ['realm="without a scheme"', []],
])("%s", (header, expected) => {
  expect(parseChallenges(header)).toEqual(expected);
});
