import { contentStoreContract } from "./content-store.contract.ts";
import { MemoryContentStore } from "./fake/memory-content-store.ts";

contentStoreContract("MemoryContentStore", async () => {
  const store = new MemoryContentStore();
  return { store, cleanUp: () => store[Symbol.asyncDispose]() };
});
