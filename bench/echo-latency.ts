/**
 * A program of its own, so that it can run in a container's network namespace: asks an echo server over one connection and prints
 * the median microseconds from a request to its answer. Arguments: host, port, number of requests.
 */
import { connect } from "node:net";
import { quantile } from "./statistics.ts";

const [host = "", port = "", count = "5000"] = process.argv.slice(2);
const socket = connect({ host, port: Number(port), noDelay: true, timeout: 5000 });
socket.once("timeout", () => socket.destroy(new Error("no answer within 5 s")));
const warmUps = 500;
const request = Buffer.alloc(64, "x");
const micros: number[] = [];
let started = 0;
let received = 0;
let left = Number(count) + warmUps;

function ask(): void {
  started = performance.now();
  received = 0;
  socket.write(request);
}

socket.once("connect", ask);
socket.on("data", (chunk) => {
  received += chunk.length;
  if (received < request.length) return;
  micros.push((performance.now() - started) * 1000);
  if (--left > 0) ask();
  else socket.end();
});
socket.once("close", () => {
  const sorted = micros.slice(warmUps).toSorted((a, b) => a - b);
  process.stdout.write(`${quantile(sorted, 0.5)}\n`);
});
