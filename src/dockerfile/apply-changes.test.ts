import { describe, expect, it } from "vitest";
import { applyChanges } from "./apply-changes.ts";

describe("applyChanges", () => {
  it("applies every allowed instruction", () => {
    const config = applyChanges({ Env: ["PATH=/bin"], WorkingDir: "/srv" }, [
      "CMD echo hi",
      'ENTRYPOINT ["/init", "-x"]',
      'ENV A=1 B="two words"',
      "EXPOSE 80 8000-8001/udp",
      "HEALTHCHECK --interval=30s --retries=2 CMD curl -f http://localhost",
      "LABEL a.b=c d='e f'",
      "ONBUILD RUN make",
      "STOPSIGNAL SIGQUIT",
      "USER www-data:33",
      'VOLUME ["/data", "/log"]',
      "WORKDIR app",
    ]);
    expect(config).toEqual({
      Env: ["PATH=/bin", "A=1", "B=two words"],
      Cmd: ["/bin/sh", "-c", "echo hi"],
      Entrypoint: ["/init", "-x"],
      ExposedPorts: { "80/tcp": {}, "8000/udp": {}, "8001/udp": {} },
      Healthcheck: { Test: ["CMD-SHELL", "curl -f http://localhost"], Interval: 30_000_000_000, Retries: 2 },
      Labels: { "a.b": "c", d: "e f" },
      OnBuild: ["RUN make"],
      StopSignal: "SIGQUIT",
      User: "www-data:33",
      Volumes: { "/data": {}, "/log": {} },
      WorkingDir: "/srv/app",
    });
  });

  it("replaces a variable and sees it in the next change", () => {
    const config = applyChanges({ Env: ["A=1", "B=2"] }, ["ENV A=3", "ENV C=$A-${D:-none}"]);
    expect(config.Env).toEqual(["A=3", "B=2", "C=3-none"]);
  });

  it("drops an inherited command with a new entry point, not one given beside it", () => {
    expect(applyChanges({ Cmd: ["old"] }, ['ENTRYPOINT ["x"]']).Cmd).toBeNull();
    expect(applyChanges({ Cmd: ["old"] }, ['CMD ["new"]', 'ENTRYPOINT ["x"]']).Cmd).toEqual(["new"]);
  });

  it("does not touch the configuration it was given", () => {
    const config = { Env: ["A=1"], Labels: { a: "b" } };
    applyChanges(config, ["ENV A=2", "LABEL a=c"]);
    expect(config).toEqual({ Env: ["A=1"], Labels: { a: "b" } });
  });

  it.each([
    ["RUN true", "RUN is not a valid change command"],
    ["FROM x", "FROM is not a valid change command"],
    ["COPY a b", "COPY is not a valid change command"],
    ["ENVV a=b", "unknown instruction: ENVV (did you mean ENV?)"],
    ["EXPOSE 70000", "invalid containerPort: 70000"],
    ["STOPSIGNAL SIGFOO", "invalid signal: SIGFOO"],
    ["ENV A=${B", "missing '}'"],
    ["", "the Dockerfile (change) cannot be empty"],
  ])("refuses %j", (change, reason) => {
    expect(() => applyChanges({}, [change])).toThrow(
      expect.objectContaining({
        code: "DOCKERFILE_CHANGE_INVALID",
        status: 400,
        message: expect.stringContaining(reason),
      }),
    );
  });
});
