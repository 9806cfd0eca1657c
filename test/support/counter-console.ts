/** The guest of `test/integration/qemu/counter-guest.ts`, by its machine's console. */
import { spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { entry } from "./engine-process.ts";

/** The digits that the guest of the machine `name` answers with, one for each order. */
export async function askCounter(host: string, name: string, orders: string): Promise<string> {
  const words = ["--disable-warning=ExperimentalWarning", entry, "-H", host, "machine", "console", name];
  const client = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise((resolve) => client.once("close", resolve));
  let seen = "";
  client.stdout.on("data", (bytes: Buffer) => (seen += bytes.toString()));
  const digits = () => seen.replaceAll(/\D/g, "");
  // Until it has booted it answers nothing.
  for (let n = 0; n < 100 && digits() === ""; n++) {
    client.stdin.write("?");
    for (let m = 0; m < 10 && digits() === ""; m++) await delay(50);
  }
  await delay(500);
  const before = digits().length;
  for (const [nth, order] of Array.from(orders).entries()) {
    client.stdin.write(order);
    for (let m = 0; m < 200 && digits().length < before + nth + 1; m++) await delay(50);
  }
  client.kill();
  await exited;
  return digits().slice(before);
}
