import { driverContract } from "../../../src/instances/driver.contract.ts";
import { OciWorld } from "./oci-world.ts";

for (const runtime of ["runc", "crun"]) {
  driverContract(`oci with ${runtime}`, {
    kernel: true,
    commandIsSought: "prepare",
    open: () => OciWorld.open(runtime),
  });
}
