import type { Static } from "typebox";
import { messageOf } from "../../../base/errors.ts";
import { CreateExecBody, ResizeQuery, StartExecBody } from "../../../schema/docker/container.ts";
import type { TerminalSize } from "../../../instances/driver.ts";
import type { ExecState } from "../../../instances/instance-service.ts";
import { apiErrors, errorFields } from "../errors.ts";
import { type Call, created, done, ok, type Route, route, streamed } from "../route.ts";
import { streamType, takeConnection } from "../streams/connection.ts";
import { parseDetachKeys } from "../streams/detach-keys.ts";
import { joinSession } from "../streams/session.ts";
import { stdcopyFrame } from "../streams/stdcopy.ts";
import { terminalSize } from "./containers.ts";

export const execRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/containers/{id}/exec",
    summary: "Prepare a further process in a container",
    body: CreateExecBody,
    handle: async ({ backend, ctx, name, body }) => {
      const argv = body.Cmd ?? [];
      if (argv.length === 0) throw apiErrors.API_BAD_REQUEST({ message: "No exec command specified" });
      const detachKeys = body.DetachKeys ?? "";
      parseDetachKeys(detachKeys);
      const id = await backend.instances.execCreate(ctx, name, {
        argv,
        env: body.Env ?? [],
        user: body.User ?? "",
        workingDir: body.WorkingDir ?? "",
        tty: body.Tty ?? false,
        attachStdin: body.AttachStdin ?? false,
        attachStdout: body.AttachStdout ?? false,
        attachStderr: body.AttachStderr ?? false,
        privileged: body.Privileged ?? false,
        detachKeys,
      });
      return created({ Id: id });
    },
  }),
  route({
    method: "POST",
    path: "/exec/{id}/start",
    summary: "Start it; unless detached, the connection leaves HTTP",
    body: StartExecBody,
    bodyOptional: true,
    handle: startExec,
  }),
  route({
    method: "POST",
    path: "/exec/{id}/resize",
    summary: "Resize its terminal",
    query: ResizeQuery,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.instances.execResize(ctx, name, terminalSize(query));
      return done;
    },
  }),
  route({
    method: "GET",
    path: "/exec/{id}/json",
    summary: "Inspect it",
    handle: ({ backend, name }) => {
      const state = backend.instances.execInspect(name);
      const { spec, failure } = state;
      return ok({
        ID: state.id,
        Running: state.running,
        ExitCode: state.exitCode,
        ProcessConfig: {
          tty: spec.tty,
          entrypoint: spec.argv[0] ?? "",
          arguments: spec.argv.slice(1),
          privileged: spec.privileged,
          ...(spec.user === "" ? {} : { user: spec.user }),
        },
        OpenStdin: spec.attachStdin,
        OpenStderr: spec.attachStderr,
        OpenStdout: spec.attachStdout,
        CanRemove: !state.running && state.exitCode !== null,
        ContainerID: state.instanceId,
        DetachKeys: spec.detachKeys === "" ? "" : Buffer.from(parseDetachKeys(spec.detachKeys)).toString("base64"),
        Pid: state.pid,
        // Ours: the client was told by the stream, which has no place for a hint.
        ...(failure === undefined ? {} : { Error: errorFields(failure) }),
      });
    },
  }),
];

/**
 * The answer's head goes out before the command starts, as from Docker: docker-py and others read on past what came with the head,
 * and would miss the first output of a command that is quick. What can't run at all is found first and is a plain error.
 */
async function startExec(call: Call<unknown, Static<typeof StartExecBody>>) {
  const { backend, ctx, name, body, version } = call;
  const state = backend.instances.execInspect(name);
  const { spec } = state;
  const detach = body.Detach ?? false;
  const terminal = consoleSize(body.ConsoleSize);
  const options = {
    detach,
    tty: spec.tty,
    ...(terminal === undefined || !spec.tty || !version.atLeast(42) ? {} : { terminal }),
  };
  if (detach || !isStartable(state, backend)) {
    const session = await backend.instances.execStart(ctx, name, options);
    session?.detach();
    return done;
  }
  // By what the request says, as in Docker, whatever the command has.
  const raw = body.Tty ?? false;
  const connection = takeConnection(call, streamType(version, raw));
  try {
    const session = await backend.instances.execStart(ctx, name, options);
    await connection.headRead();
    if (session === undefined) connection.close();
    else {
      const detachKeys = parseDetachKeys(spec.detachKeys);
      await joinSession(session, connection, { detachKeys, raw, stdin: spec.attachStdin });
    }
  } catch (error) {
    // Docker's clients print it before they ask for the exit code.
    const text = Buffer.from(`${messageOf(error)}\r\n`);
    await connection.headRead();
    connection.output.write(raw ? text : stdcopyFrame("stdout", text));
    connection.close();
  }
  return streamed;
}

/** Whether its container runs and it has not been started yet. */
function isStartable(state: ExecState, { instances }: Pick<Call["backend"], "instances">): boolean {
  const { status } = instances.resolve(state.instanceId).state;
  return status === "running" && !state.running && state.exitCode === null;
}

function consoleSize(size: readonly number[] | null | undefined): TerminalSize | undefined {
  const [rows, columns] = size ?? [];
  return rows === undefined || columns === undefined ? undefined : { rows, columns };
}
