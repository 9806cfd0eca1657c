import { describe, expect, it } from "vitest";
import { background } from "../../base/op-context.ts";
import { hostErrors } from "../../host/errors.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { SyscallError } from "../../host/syscall-error.ts";
import { connectToMonitor } from "./monitor-socket.ts";

const path = "/run/instances/c/attach";
const reset = () =>
  hostErrors.SOCKET_FAILED(
    { path, call: "connect", errno: "ECONNRESET", text: "connection reset by peer" },
    { cause: new SyscallError("recv", 104) },
  );

function open() {
  const host = new FakeHost();
  const monitor = host.processes.addRunning();
  const connect = (taken: boolean) => connectToMonitor(background(), host, { path, monitor: monitor.identity, taken });
  return { host, monitor, connect };
}

describe("connectToMonitor", () => {
  it("waits for the monitor itself to take the connection, when it is asked to", async () => {
    const { host, monitor, connect } = open();
    const waitedFor: (number | undefined)[] = [];
    host.sockets.listen(path, (_socket, acceptedBy) => void waitedFor.push(acceptedBy));
    expect(await connect(true)).toBeDefined();
    expect(await connect(false)).toBeDefined();
    expect(waitedFor).toEqual([monitor.identity.pid, undefined]);
  });

  it("takes a monitor that closed its socket for one that ends, before it is gone", async () => {
    const { host, monitor, connect } = open();
    host.sockets.listen(path, () => {
      setTimeout(() => monitor.exit(0), 20);
      throw reset();
    });
    expect(await connect(true)).toBeUndefined();
    expect(monitor.alive).toBe(false);
  });

  it("says why it can't connect to a monitor that lives, and only to such a one", async () => {
    const { monitor, connect } = open();
    await expect(connect(true)).rejects.toMatchObject({ code: "SOCKET_FAILED" });
    monitor.exit(0);
    expect(await connect(true)).toBeUndefined();
  });
});
