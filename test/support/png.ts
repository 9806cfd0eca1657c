/** Reads the PNGs that QEMU writes: 8 bits a channel, RGB, not interlaced (W3C PNG specification, 2003). */
import { inflateSync } from "node:zlib";

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** "#rrggbb". */
  at(x: number, y: number): string;
}

const bytesPerPixel = 3;

export function decodePng(png: Buffer): Picture {
  const width = png.readUInt32BE(16);
  const height = png.readUInt32BE(20);
  if (png.toString("hex", 24, 29) !== "0802000000") throw new Error("this PNG is no plain RGB");
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT")
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const stride = width * bytesPerPixel;
  const raw = inflateSync(Buffer.concat(data));
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)] ?? 0;
    for (let x = 0; x < stride; x++) {
      const left = x < bytesPerPixel ? 0 : (pixels[y * stride + x - bytesPerPixel] ?? 0);
      const up = y === 0 ? 0 : (pixels[(y - 1) * stride + x] ?? 0);
      const corner = x < bytesPerPixel || y === 0 ? 0 : (pixels[(y - 1) * stride + x - bytesPerPixel] ?? 0);
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      if (predicted === undefined) throw new Error(`filter ${filter}`);
      pixels[y * stride + x] = ((raw[y * (stride + 1) + 1 + x] ?? 0) + predicted) & 0xff;
    }
  }
  const at = (x: number, y: number) =>
    `#${pixels.toString("hex", y * stride + x * bytesPerPixel, y * stride + (x + 1) * bytesPerPixel)}`;
  return { width, height, at };
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
