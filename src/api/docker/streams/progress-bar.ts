import { humanSize } from "../codecs/human.ts";

/** Docker's text for clients that don't draw a bar of their own: "[=====>      ]  12.3MB/45.6MB". */
export function progressBar(current: number, total: number): string {
  if (current <= 0 && total <= 0) return "";
  if (total <= 0) return humanSize(current).padStart(8);
  const half = Math.min(50, Math.floor((current / total) * 50));
  const bar = `[${"=".repeat(half)}>${" ".repeat(Math.max(0, 50 - half))}]`;
  const sizes = `${humanSize(current).padStart(8)}/${humanSize(total)}`;
  return current > total ? humanSize(current).padStart(8) : `${bar} ${sizes}`;
}
