/** Whether a program of the host has a port: asked of the kernel by binding it for a moment. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import type { HostPort } from "./port-leases.ts";

export type BindResult =
  | { readonly kind: "free" }
  | { readonly kind: "in-use" }
  /** The address is not this host's, or the like; `reason` in libc's words. */
  | { readonly kind: "refused"; readonly reason: string };

export type BindTest = (port: HostPort) => Promise<BindResult>;

/** SCTP can't be bound from Node: taken as free (the kernel's own table then decides who gets a packet). */
export const bindTest: BindTest = async (port) => {
  switch (port.protocol) {
    case "tcp":
      return bindTcp(port);
    case "udp":
      return bindUdp(port);
    case "sctp":
      return { kind: "free" };
  }
};

function bindTcp(port: HostPort): Promise<BindResult> {
  const { promise, resolve } = Promise.withResolvers<BindResult>();
  const server = createServer();
  server.once("error", (error) => resolve(failureOf(error)));
  server.listen({ host: port.hostIp, port: port.hostPort, exclusive: true, ipv6Only: true }, () =>
    server.close(() => resolve({ kind: "free" })),
  );
  return promise;
}

function bindUdp(port: HostPort): Promise<BindResult> {
  const { promise, resolve } = Promise.withResolvers<BindResult>();
  const socket = createSocket(port.hostIp.includes(":") ? { type: "udp6", ipv6Only: true } : { type: "udp4" });
  socket.once("error", (error) => {
    socket.close();
    resolve(failureOf(error));
  });
  socket.bind({ address: port.hostIp, port: port.hostPort, exclusive: true }, () =>
    socket.close(() => resolve({ kind: "free" })),
  );
  return promise;
}

function failureOf(error: Error): BindResult {
  const code = "code" in error ? String(error.code) : "";
  if (code === "EADDRINUSE") return { kind: "in-use" };
  if (code === "EADDRNOTAVAIL") return { kind: "refused", reason: "cannot assign requested address" };
  if (code === "EACCES") return { kind: "refused", reason: "permission denied" };
  return { kind: "refused", reason: error.message };
}
