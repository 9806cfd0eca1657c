import { expect, test } from "vitest";
import { imageCommand } from "../../osimages/image-command.ts";
import { instructionsOf } from "./image-configuration.ts";

const description = (text: string) => Buffer.from(text);

test("what a disk of an image says is what the image's container ran", () => {
  const config = {
    Cmd: ["sh", "-c", 'echo "$A"'],
    Env: ['A=b $c "q" \\'],
    WorkingDir: "/tmp",
    User: "1000",
    StopSignal: "SIGINT",
  };
  const written = imageCommand(config, Buffer.from("init"))?.find((file) => file.path === "usr/lib/berth/image");
  expect(written?.kind === "file" && instructionsOf(Buffer.from(written.content))).toEqual([
    String.raw`ENV A="b \$c \"q\" \\"`,
    String.raw`CMD ["sh","-c","echo \"$A\""]`,
    'USER "1000"',
    'WORKDIR "/tmp"',
    "STOPSIGNAL 2",
  ]);
});

test("a hostile disk adds no instruction of its own", () => {
  const hostile = description(
    "arg=a\nUSER root\0env=A=1\nUSER root\0env=B C=1\0user=x\nENTRYPOINT y\0cwd=\0stop=9\nCMD z\0",
  );
  expect(instructionsOf(hostile)).toEqual([String.raw`CMD ["a\nUSER root"]`]);
  expect(instructionsOf(description("user=root\0"))).toBeUndefined();
});
