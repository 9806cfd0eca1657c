import { describe, expect, it } from "vitest";
import { runtimeFailure } from "./runtime-failure.ts";

const failure = (text: string, command = "nope", step: "create" | "exec" = "create") =>
  runtimeFailure({ id: "0123456789abcdef", step, command, text });

describe("runtimeFailure", () => {
  it("finds a missing command in runc's words", () => {
    const text =
      'runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH\n';
    expect(failure(text)).toMatchObject({
      code: "COMMAND_NOT_FOUND",
      message: `failed to create task for container: OCI runtime create failed: ${text.trim()}`,
    });
  });

  it("reads logrus lines", () => {
    const text = 'time="2026-01-01T00:00:00Z" level=error msg="exec: \\"/etc\\": is a directory: permission denied"\n';
    expect(failure(text, "/etc")).toMatchObject({ code: "COMMAND_NOT_EXECUTABLE" });
  });

  it("says a missing command of crun's in runc's words", () => {
    const text = "2026-01-01T00:00:00.000000Z: executable file `nope` not found in $PATH: No such file or directory";
    expect(failure(text, "nope", "exec")).toMatchObject({
      code: "COMMAND_NOT_FOUND",
      message:
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope": executable file not found in $PATH',
    });
  });

  it("says a missing working directory of crun's in runc's words", () => {
    expect(failure("chdir `/nosuch`: No such file or directory", "id", "exec")).toMatchObject({
      code: "COMMAND_NOT_FOUND",
      message:
        'OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nosuch") set in config.json failed: no such file or directory',
    });
    expect(failure("chdir `/root`: Permission denied")).toMatchObject({ code: "COMMAND_NOT_EXECUTABLE" });
  });

  it("keeps any other reason, and admits to none", () => {
    expect(failure("mount /proc: no space")).toMatchObject({
      code: "RUNTIME_FAILED",
      message: "failed to create task for container 0123456789ab: mount /proc: no space",
    });
    expect(failure("").message).toContain("the runtime gave no reason");
  });
});
