/** The verbs that change a container's state. */
import { defineCommand, flag, integer, text } from "../../command.ts";
import { forEachWord } from "../../each.ts";
import { cliErrors } from "../../errors.ts";
import { attachUntilExit } from "./attached.ts";

const many = "CONTAINER [CONTAINER...]";

export const start = defineCommand({
  arguments: many,
  options: {
    attach: flag("Attach to its output and pass signals on", "a"),
    interactive: flag("Attach to its stdin", "i"),
    detachKeys: text("KEYS", "Keys that leave it running"),
  },
  async run(ctx, words, values) {
    if (!values.attach && !values.interactive) {
      await forEachWord(ctx, words, (name) => ctx.client.call("POST", `/containers/${name}/start`));
      return;
    }
    const [name = "", ...others] = words;
    if (others.length > 0)
      throw cliErrors.USAGE({ reason: "you cannot start and attach multiple containers at once", command: "start" });
    const { Config } = await ctx.client.call<{ Config: { Tty: boolean; OpenStdin: boolean } }>(
      "GET",
      `/containers/${name}/json`,
    );
    const stdin = values.interactive && Config.OpenStdin;
    await attachUntilExit(ctx, {
      id: name,
      tty: Config.Tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys: values.detachKeys,
      sigProxy: true,
      condition: "next-exit",
      begin: async () => void (await ctx.client.call("POST", `/containers/${name}/start`)),
    });
  },
});

export const stop = defineCommand({
  arguments: many,
  options: {
    time: integer("SECONDS", "Time to stop before it is killed; -1 waits for ever", "t"),
    timeout: integer("SECONDS", "Same as --time"),
    signal: text("SIGNAL", "Signal to send", "s"),
  },
  run: (ctx, words, { time, timeout, signal }) =>
    forEachWord(ctx, words, (name) =>
      ctx.client.call("POST", `/containers/${name}/stop`, { query: { t: time ?? timeout, signal } }),
    ),
});

export const restart = defineCommand({
  arguments: many,
  options: {
    time: integer("SECONDS", "Time to stop before it is killed", "t"),
    timeout: integer("SECONDS", "Same as --time"),
    signal: text("SIGNAL", "Signal to send", "s"),
  },
  run: (ctx, words, { time, timeout, signal }) =>
    forEachWord(ctx, words, (name) =>
      ctx.client.call("POST", `/containers/${name}/restart`, { query: { t: time ?? timeout, signal } }),
    ),
});

export const kill = defineCommand({
  arguments: many,
  options: { signal: text("SIGNAL", "Signal to send (default KILL)", "s") },
  run: (ctx, words, { signal }) =>
    forEachWord(ctx, words, (name) => ctx.client.call("POST", `/containers/${name}/kill`, { query: { signal } })),
});

export const pause = defineCommand({
  arguments: many,
  options: {},
  run: (ctx, words) => forEachWord(ctx, words, (name) => ctx.client.call("POST", `/containers/${name}/pause`)),
});

export const unpause = defineCommand({
  arguments: many,
  options: {},
  run: (ctx, words) => forEachWord(ctx, words, (name) => ctx.client.call("POST", `/containers/${name}/unpause`)),
});

export const remove = defineCommand({
  arguments: many,
  options: {
    force: flag("Kill it first when it runs", "f"),
    volumes: flag("Remove its anonymous volumes too", "v"),
    link: flag("Remove the link", "l"),
  },
  run: (ctx, words, { force, volumes, link }) =>
    forEachWord(ctx, words, (name) =>
      ctx.client.call("DELETE", `/containers/${name}`, { query: { force, v: volumes, link: link || undefined } }),
    ),
});

export const rename = defineCommand({
  arguments: "CONTAINER NEW_NAME",
  options: {},
  async run(ctx, [name, newName]) {
    await ctx.client.call("POST", `/containers/${name}/rename`, { query: { name: newName } });
  },
});

export const wait = defineCommand({
  arguments: many,
  options: {},
  async run(ctx, words) {
    for (const name of words) {
      const { StatusCode } = await ctx.client.call<{ StatusCode: number }>("POST", `/containers/${name}/wait`);
      ctx.stdout.write(`${StatusCode}\n`);
    }
  },
});
