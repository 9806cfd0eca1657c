import { confinedRootsContract } from "./confined-roots.contract.ts";
import { InProcessRoots } from "./fake/in-process-roots.ts";

confinedRootsContract("InProcessRoots", () => ({ roots: new InProcessRoots(), cleanUp: async () => {} }));
