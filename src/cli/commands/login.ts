import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline/promises";
import { type CliContext, defineCommand, flag, text } from "../command.ts";
import { cliErrors } from "../errors.ts";
import { configPath, dockerHub, readDockerConfig, runHelper } from "../registry-auth.ts";

export const login = defineCommand({
  arguments: "[REGISTRY]",
  options: {
    username: text("NAME", "User name", "u"),
    password: text("PASSWORD", "Password", "p"),
    passwordStdin: flag("Read the password from stdin"),
  },
  async run(ctx, [registry = dockerHub], values) {
    const username = values.username ?? (await ask(ctx, "Username: "));
    const password =
      values.password ?? (values.passwordStdin ? (await readStdin(ctx)).trimEnd() : await askHidden(ctx, "Password: "));
    const answer = await ctx.client.call<{ Status: string; IdentityToken?: string }>("POST", "/auth", {
      body: { username, password, serveraddress: registry },
    });
    await store(ctx, registry, username, password, answer.IdentityToken ?? "");
    ctx.stdout.write(`${answer.Status}\n`);
  },
});

export const logout = defineCommand({
  arguments: "[REGISTRY]",
  options: {},
  async run(ctx, [registry = dockerHub]) {
    const path = configPath(ctx);
    const config = readDockerConfig(path);
    const helper = config.credHelpers?.[registry] ?? config.credsStore;
    if (helper !== undefined) await runHelper(helper, "erase", registry);
    if (config.auths?.[registry] === undefined) {
      ctx.stdout.write(`Not logged in to ${registry}\n`);
      return;
    }
    const { [registry]: _removed, ...auths } = config.auths;
    writeConfig(path, { ...config, auths });
    ctx.stdout.write(`Removing login credentials for ${registry}\n`);
  },
});

async function store(
  ctx: CliContext,
  registry: string,
  username: string,
  password: string,
  identitytoken: string,
): Promise<void> {
  const path = configPath(ctx);
  const config = readDockerConfig(path);
  const helper = config.credHelpers?.[registry] ?? config.credsStore;
  if (helper !== undefined) {
    const secret =
      identitytoken === "" ? { Username: username, Secret: password } : { Username: "<token>", Secret: identitytoken };
    await runHelper(helper, "store", JSON.stringify({ ServerURL: registry, ...secret }));
    writeConfig(path, { ...config, auths: { ...config.auths, [registry]: {} } });
    return;
  }
  const auth = Buffer.from(`${username}:${identitytoken === "" ? password : ""}`).toString("base64");
  writeConfig(path, {
    ...config,
    auths: { ...config.auths, [registry]: { auth, ...(identitytoken === "" ? {} : { identitytoken }) } },
  });
  ctx.stderr.write(
    `WARNING! Your password is stored unencrypted in ${path}. Configure a credential helper to avoid that.\n`,
  );
}

function writeConfig(path: string, config: object): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(draft, path);
}

async function ask(ctx: CliContext, question: string): Promise<string> {
  if (ctx.stdin.isTTY !== true)
    throw cliErrors.NOT_A_TERMINAL({ reason: "no terminal to ask on: use --username and --password-stdin" });
  const lines = createInterface({ input: ctx.stdin, output: ctx.stderr });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
  }
}

async function askHidden(ctx: CliContext, question: string): Promise<string> {
  if (ctx.stdin.isTTY !== true)
    throw cliErrors.NOT_A_TERMINAL({ reason: "no terminal to ask on: use --password-stdin" });
  ctx.stderr.write(question);
  ctx.stdin.setRawMode?.(true);
  try {
    let typed = "";
    for await (const chunk of ctx.stdin) {
      for (const character of String(chunk)) {
        if (character === "\r" || character === "\n") return typed;
        if (character === "\u0003") throw cliErrors.USAGE({ reason: "interrupted", command: "login" });
        typed = character === "\u007f" ? typed.slice(0, -1) : typed + character;
      }
    }
    return typed;
  } finally {
    ctx.stdin.setRawMode?.(false);
    ctx.stderr.write("\n");
  }
}

async function readStdin(ctx: CliContext): Promise<string> {
  let all = "";
  for await (const chunk of ctx.stdin) all += String(chunk);
  return all;
}
