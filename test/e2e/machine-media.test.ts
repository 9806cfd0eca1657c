/** Machines from ISOs: an installer that installs by itself onto a blank disk, and memtest86+, which only shows a screen. Under emulation. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { installedLine, makeInstallerIso } from "../support/installer-iso.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { decodePng, type Picture } from "../support/png.ts";
import { until } from "../support/until.ts";

const memtest = "/usr/lib/memtest86+/memtest86+x64.iso";
const ok = { code: 0, stderr: "" };

describe("machines from ISOs", () => {
  let engine: EngineProcess;
  let dir: string;
  const machine = (...words: readonly string[]) => engine.berth("machine", ...words);

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-media-"));
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    engine = await EngineProcess.start();
  });
  afterAll(async () => {
    await engine.remove();
    rmSync(dir, { recursive: true });
    await assertNothingLeft(engine);
  });

  it("installs onto a blank disk unattended, and boots from the disk", async () => {
    const iso = await makeInstallerIso(dir, guestKernelPackage());
    const logs = async () => (await machine("logs", "box")).stdout;
    expect(
      await machine("create", "box", "--iso", iso, "--disk", "256MiB", "--memory", "256MiB", "--start"),
    ).toMatchObject(ok);
    const status = async () => (await machine("ls", "--format", "{{.Status}}")).stdout;
    await until(async () => (await status()).startsWith("off"), "the installer powers off", 200);
    const installing = await logs();
    expect(installing).toMatch(/^INSTALLED\r?$/m);
    expect(installing).not.toContain(installedLine);

    expect(await machine("start", "box")).toMatchObject(ok);
    await until(
      async () => (await logs()).includes(`${installedLine} the unattended installer`),
      "the disk boots",
      120,
    );
    expect((await logs()).match(/^INSTALLED\r?$/gm)).toHaveLength(1);
    expect(await machine("rm", "-f", "box")).toMatchObject(ok);
  });

  it.runIf(existsSync(memtest))("shows memtest86+ on its screen", async () => {
    expect(
      await machine("create", "test", "--iso", memtest, "--disk", "16MiB", "--memory", "64MiB", "--start"),
    ).toMatchObject(ok);
    const file = join(dir, "screen.png");
    await until(
      async () => {
        expect(await machine("screenshot", "test", file)).toMatchObject(ok);
        return showsMemtest(decodePng(readFileSync(file)));
      },
      "the screen of memtest86+",
      120,
    );
    expect(await machine("rm", "-f", "test")).toMatchObject(ok);
  });
});

/** The text mode's 16 colours, by which of red, green and blue are lit: how bright that is differs. */
type Colour = "black" | "blue" | "red" | "grey" | "other";
const colours: Readonly<Record<string, Colour>> = { "000": "black", "001": "blue", "100": "red", "111": "grey" };
/** 80 x 25 characters of 9 x 16 pixels. */
const cell = { width: 9, height: 16 };

function colourAt(screen: Picture, x: number, y: number): Colour {
  const lit = [1, 3, 5].map((at) => (Number.parseInt(screen.at(x, y).slice(at, at + 2), 16) > 0x80 ? "1" : "0"));
  return colours[lit.join("")] ?? "other";
}

/**
 * Whether the title bar reads "Memtest86+", by which of its characters are the same, by its colours and by the red plus sign; and whether
 * there is its bar of keys at the bottom, and nothing but blue above it, below the figures, which change.
 */
function showsMemtest(screen: Picture): boolean {
  if (screen.width !== 720 || screen.height !== 400) return false;
  const title = Array.from("Memtest86+");
  const glyphs = title.map((_, nth) => glyphAt(screen, 6 + nth));
  const isTitle = title.every((one, i) =>
    title.every((other, j) => (glyphs[i]?.shape === glyphs[j]?.shape) === (one === other)),
  );
  const inks = glyphs.map(({ ink }) => ink);
  if (!isTitle || inks.slice(0, 9).some((ink) => ink !== "black") || inks[9] !== "red") return false;
  for (let y = 170; y < 360; y += 10) {
    for (let x = 0; x < 720; x += cell.width) if (colourAt(screen, x, y) !== "blue") return false;
  }
  return colourAt(screen, 0, 0) === "grey" && colourAt(screen, 0, 399) === "grey";
}

function glyphAt(screen: Picture, column: number): { readonly shape: string; readonly ink: Colour } {
  let shape = "";
  let ink: Colour = "grey";
  for (let y = 0; y < cell.height; y++) {
    for (let x = column * cell.width; x < (column + 1) * cell.width; x++) {
      const colour = colourAt(screen, x, y);
      shape += colour === "grey" ? "." : "#";
      if (colour !== "grey") ink = colour;
    }
  }
  return { shape, ink };
}
