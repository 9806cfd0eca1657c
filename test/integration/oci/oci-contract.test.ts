import { driverContract } from "../../../src/instances/driver.contract.ts";
import { OciWorld } from "./oci-world.ts";

driverContract("oci with runc", { kernel: true, open: () => OciWorld.open("runc") });
