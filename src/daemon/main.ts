export async function main(words: readonly string[]): Promise<number> {
  throw new Error(`not yet: ${words.join(" ")}`);
}
