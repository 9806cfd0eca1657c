import { BerthError, messageOf } from "../base/errors.ts";
import type { CliContext } from "./command.ts";

/** Runs `work` for each word, prints the word when it worked; goes on after a failure, then exits 1, as docker does with several arguments. */
export async function forEachWord(
  ctx: CliContext,
  words: readonly string[],
  work: (word: string) => Promise<unknown>,
  options: { readonly hints?: boolean } = {},
): Promise<void> {
  for (const word of words) {
    try {
      await work(word);
      ctx.stdout.write(`${word}\n`);
    } catch (error) {
      ctx.stderr.write(`Error: ${messageOf(error)}\n`);
      const hint = options.hints === true && error instanceof BerthError ? error.hint : undefined;
      if (hint !== undefined) ctx.stderr.write(`       ${hint}\n`);
      ctx.setExitCode(1);
    }
  }
}
