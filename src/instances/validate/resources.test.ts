import { describe, expect, it } from "vitest";
import { FakeCgroups } from "../../host/fake/fake-cgroups.ts";
import { unlimited } from "../../schema/resources.ts";
import { discardUnsupported } from "./resources.ts";

const weights = { ...unlimited, blkioWeight: 300, blkioWeightDevice: [{ path: "/dev/sda", weight: 200 }] };
const { features } = new FakeCgroups();

describe("discardUnsupported", () => {
  it("keeps everything where the kernel has it", () => {
    expect(discardUnsupported(weights, features)).toEqual({ resources: weights, warnings: [] });
  });

  it("leaves block I/O weights out with Docker's warnings, and nothing else", () => {
    const { resources, warnings } = discardUnsupported(
      { ...weights, memory: 2 ** 26 },
      { ...features, blkioWeight: false, blkioWeightDevice: false },
    );
    expect(resources).toEqual({ ...unlimited, memory: 2 ** 26 });
    expect(warnings.map((text) => text.split("or the")[0])).toEqual([
      "Your kernel does not support Block I/O weight ",
      "Your kernel does not support Block I/O weight_device ",
    ]);
  });
});
