/** `berth daemon`: an {@link Engine} with the API on its sockets, until a signal asks it to end. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { background } from "../base/op-context.ts";
import { createDockerApi } from "../api/docker/api.ts";
import { listen, type ListenOptions } from "../api/docker/listen.ts";
import { machineRoutes } from "../api/berth/machines.ts";
import { berthRoutes } from "../api/berth/routes.ts";
import { RequestMetrics } from "../api/metrics/request-metrics.ts";
import { metricsRoutes } from "../api/metrics/routes.ts";
import { rm, writeFile } from "../host/files.ts";
import { armFailpoints } from "../host/failpoints.ts";
import { trimFreeMemory } from "../host/memory-trim.ts";
import type { EngineConfig } from "../schema/config.ts";
import { parseFlags, settingsHelp } from "./config/flags.ts";
import { Engine } from "./engine.ts";
import { daemonErrors } from "./errors.ts";
import { giveBackWhenIdle } from "./idle-memory.ts";
import { createLogger } from "./logger.ts";

export async function serve(words: readonly string[]): Promise<number> {
  const flags = parseFlags(words);
  if (flags.help) {
    process.stdout.write(
      `Usage: berth daemon [OPTIONS]\n\nRun the engine and serve its API. Containers run on when it ends.\n\nOptions:\n${settingsHelp()}`,
    );
    return 0;
  }
  const { config } = flags.load();
  if (process.getuid?.() !== 0) throw daemonErrors.NOT_ROOT({});
  const log = createLogger(config.logLevel);
  process.on("unhandledRejection", (reason) =>
    log.error(
      { error: messageOf(reason), stack: reason instanceof Error ? reason.stack : undefined },
      "a promise was rejected and nobody looked: a bug",
    ),
  );

  armFailpoints(process.env["BERTH_FAILPOINTS"], log);
  await using engine = await Engine.open({ ...config, log });
  using _idleMemory = giveBackWhenIdle({
    giveBack: trimFreeMemory,
    onError: (error) => log.warn({ error: messageOf(error) }, "free memory could not be given back"),
  });
  const requests = new RequestMetrics();
  const api = createDockerApi({
    backend: engine.backend,
    log,
    routes: [...berthRoutes, ...machineRoutes, ...metricsRoutes(requests)],
    observe: (request) => requests.observe(request),
  });
  await using listening = await listen(api, config.hosts, listenOptions(config));
  const pidFile = join(config.runRoot, "berth.pid");
  await writeFile(pidFile, `${process.pid}\n`);
  log.info({ hosts: listening.hosts, dataRoot: config.dataRoot, tag: engine.tag }, "the engine is ready");
  void tellMachines(engine, log);
  const signal = await terminationSignal();
  log.info({ signal }, "ending; containers run on");
  await rm(pidFile, { force: true });
  return 0;
}

/** Once, how virtual machines would run here: nobody waits for it. */
async function tellMachines(engine: Engine, log: Logger): Promise<void> {
  try {
    const { machines } = await engine.backend.system.engineInfo(background(log));
    if (!machines.available) log.info({ reasons: machines.reasons }, "virtual machines can't be run here");
    else if (machines.runtime === "kvm") log.info({}, "virtual machines run with KVM");
    else log.info({ reasons: machines.reasons }, "virtual machines run under emulation");
  } catch (error) {
    log.warn({ error: messageOf(error) }, "could not find out how virtual machines run here");
  }
}

async function terminationSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  return await promise;
}

function listenOptions(config: EngineConfig): ListenOptions {
  return {
    ...(config.socketGroup === "" ? {} : { socketGid: groupId(config.socketGroup) }),
    ...(config.tlsVerify ? { tls: { ca: config.tlsCaCert, cert: config.tlsCert, key: config.tlsKey } } : {}),
  };
}

function groupId(group: string): number {
  for (const line of readFileSync("/etc/group", "utf8").split("\n")) {
    const [name, , gid] = line.split(":");
    if (name === group || gid === group) return Number(gid);
  }
  throw daemonErrors.GROUP_UNKNOWN({ group });
}
