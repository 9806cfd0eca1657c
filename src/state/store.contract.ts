import { Type } from "typebox";
import { describe, expect, it } from "vitest";
import type { Store } from "./store.ts";

const Animal = Type.Object({ name: Type.String(), legs: Type.Integer() });
type Animal = { readonly name: string; readonly legs: number };

/** What every {@link Store} does. `reopen` plays a killed engine: a new store on what the old one, which was not closed, had on the disk. */
export function storeContract(name: string, make: () => { readonly store: Store; readonly reopen: () => Store }): void {
  describe(`${name} is a store`, () => {
    it("keeps what was put, over a restart", () => {
      const { store, reopen } = make();
      const animals = store.collection<Animal>("animals", Animal);
      animals.put("1", { name: "ant", legs: 6 });
      animals.put("2", { name: "bee", legs: 6 });
      animals.put("1", { name: "cat", legs: 4 });
      animals.delete("2");
      expect(animals.list()).toEqual([{ name: "cat", legs: 4 }]);
      expect(reopen().collection<Animal>("animals", Animal).get("1")).toEqual({ name: "cat", legs: 4 });
    });

    it("keeps collections apart", () => {
      const { store } = make();
      store.collection<Animal>("a", Animal).put("1", { name: "ant", legs: 6 });
      expect(store.collection<Animal>("b", Animal).get("1")).toBeUndefined();
    });

    it("has on the disk what was committed before a flush, for all who wait", async () => {
      const { store, reopen } = make();
      const animals = store.collection<Animal>("animals", Animal);
      const flushes = [1, 2, 3].map((legs) => {
        store.transaction(() => animals.put(`${legs}`, { name: "odd", legs }), { durable: false });
        return store.flush();
      });
      await Promise.all(flushes);
      expect(reopen().collection<Animal>("animals", Animal).list()).toHaveLength(3);
      await store.flush();
    });

    it("undoes every change of a transaction that throws", () => {
      const { store, reopen } = make();
      const animals = store.collection<Animal>("animals", Animal);
      animals.put("1", { name: "ant", legs: 6 });
      expect(() =>
        store.transaction(() => {
          animals.put("1", { name: "dog", legs: 4 });
          animals.put("2", { name: "emu", legs: 2 });
          throw new Error("no");
        }),
      ).toThrow("no");
      expect(animals.list()).toEqual([{ name: "ant", legs: 6 }]);
      expect(reopen().collection<Animal>("animals", Animal).list()).toEqual([{ name: "ant", legs: 6 }]);
    });

    it("joins a nested transaction to the outer one", () => {
      const { store } = make();
      const animals = store.collection<Animal>("animals", Animal);
      expect(() =>
        store.transaction(() => {
          store.transaction(() => animals.put("1", { name: "ant", legs: 6 }), { durable: false });
          throw new Error("outer");
        }),
      ).toThrow("outer");
      expect(animals.get("1")).toBeUndefined();
    });

    it("lists journal entries until they are ended, over a restart", () => {
      const { store, reopen } = make();
      const first = store.journal.begin("snapshot.commit", "abc", { step: 1 });
      const second = store.journal.begin("network.create", "net", {});
      first.end();
      const open = reopen().journal.open();
      expect(open.map(({ kind, subject, details }) => ({ kind, subject, details }))).toEqual([
        { kind: "network.create", subject: "net", details: {} },
      ]);
      open[0]?.end();
      second.end();
      expect(store.journal.open()).toEqual([]);
    });
  });
}
