/** What a client does next. */
import type { SoakClient, Step } from "../soak-client.ts";
import { containerStep } from "./containers.ts";
import { ask, list, prune, pruneUnused } from "./housekeeping.ts";
import { build, loadImage, removeSomeImage, saveImage, tagImage } from "./images.ts";
import { networkStep, volumeStep } from "./networks.ts";
import { runSomething } from "./talk.ts";
import { pullUnknown, pushOrPull } from "./transfers.ts";

const steps: readonly (readonly [weight: number, step: Step])[] = [
  [40, { name: "container", work: containerStep }],
  [12, { name: "run --rm", work: runSomething }],
  [6, { name: "network", work: networkStep }],
  [5, { name: "volume", work: volumeStep }],
  [5, { name: "load", work: loadImage }],
  [1, { name: "save", work: saveImage }],
  [2, { name: "tag", work: tagImage }],
  [3, { name: "rmi", work: removeSomeImage }],
  [8, { name: "build", work: build }],
  [5, { name: "push or pull", work: pushOrPull }],
  [0.5, { name: "pull unknown", work: pullUnknown }],
  [2, { name: "prune", work: prune }],
  [2, { name: "prune unused", work: pruneUnused }],
  [6, { name: "list", work: list }],
  [4, { name: "ask", work: ask }],
];

export function chooseStep(client: SoakClient): Step {
  return client.random.weighted(steps);
}
