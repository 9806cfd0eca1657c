import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The kernel package that set-up downloaded, so that no test does: `BERTH_TEST_KERNEL_PACKAGE` names another; "" downloads. */
export function guestKernelPackage(): string {
  const named = process.env["BERTH_TEST_KERNEL_PACKAGE"] ?? "";
  const directory = join(import.meta.dirname, "../../dist/guest");
  if (named !== "" || !existsSync(directory)) return named;
  const found = readdirSync(directory).find((name) => name.startsWith("linux-image-") && name.endsWith(".deb"));
  return found === undefined ? "" : join(directory, found);
}
