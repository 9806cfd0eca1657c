import { expect, test } from "vitest";
import { imageCommand } from "./image-command.ts";

const osinit = Buffer.from("ELF");
const described = (config: Parameters<typeof imageCommand>[0]) => {
  const file = imageCommand(config, osinit)?.find(({ path }) => path === "usr/lib/berth/image");
  return file?.kind === "file" ? file.content.toString().split("\0").filter(Boolean) : undefined;
};

test("the init runs what a container would: entry point and command, environment, user, directory, stop signal", () => {
  const config = {
    Entrypoint: ["/run.sh"],
    Cmd: ["a b"],
    Env: ["A=1"],
    User: "1000",
    WorkingDir: "/srv",
    StopSignal: "SIGQUIT",
  };
  expect(described(config)).toEqual(["arg=/run.sh", "arg=a b", "env=A=1", "user=1000", "cwd=/srv", "stop=3"]);
  expect(described({ Cmd: ["sh"], StopSignal: "12" })).toEqual(["arg=sh", "user=", "cwd=", "stop=12"]);
  expect(described({ Cmd: ["sh"] })?.at(-1)).toBe("stop=15");
});

test("an image without a command has nothing that could be run", () => {
  expect(imageCommand({ Cmd: null, Entrypoint: [] }, osinit)).toBeUndefined();
});
