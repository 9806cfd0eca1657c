import { expect, test } from "vitest";
import { wantedAndAnswered } from "./answers.ts";

const status = (answered: number, message: string) =>
  `status\nexpected: 201\nactual: ${answered}\nresponse: {"message":"${message}"}`;

test("the same answer of both is told once, with the message of a refusal", () => {
  const detail = status(400, "no command specified");
  expect(wantedAndAnswered(detail, detail)).toBe(
    "Wants status 201; Docker and Berth answer 400 (no command specified).",
  );
});

test("different answers stand side by side", () => {
  expect(wantedAndAnswered(status(400, "no"), status(500, "never"))).toBe(
    "Wants status 201; Docker answers 500 (never), Berth 400 (no).",
  );
});

test("a check that Docker passes is told as such, and of many checks how many are left", () => {
  const check = (path: string, answered: string) => `GET info : ${path}\nexpected: 24\nactual: ${answered}`;
  const ours = [check(".Size", "16"), check(".Base", "\r"), check(".A", "{"), check(".B", "x")].join("\n");
  expect(wantedAndAnswered(ours, check(".Base", ""))).toBe(
    "Wants `.Size` 24; Docker answers that, Berth 16. Wants `.Base` 24; Docker and Berth answer nothing, and 2 more of its checks fail.",
  );
});

test("what is wanted may differ from run to run, and be a pattern", () => {
  const check = (wanted: string) => `Push: first line\nexpected: ~ ${wanted}\nactual: null`;
  expect(wantedAndAnswered(check("a1"), check("b2"))).toBe(
    "Wants “Push: first line” to be like `a1`; Docker and Berth answer `null`.",
  );
});

test("a detail without expectations tells nothing", () => {
  expect(wantedAndAnswered("AssertionError: no", status(400, "no"))).toBeUndefined();
});
