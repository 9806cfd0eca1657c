/** Makes templates, one at a time, each in a jail like those of machines; and says which one fits a machine. */
import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { newId } from "../../base/ids.ts";
import type { Logger } from "../../base/logger.ts";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { encodeFields, type Field } from "../../guest/frames.ts";
import { type Template, type TemplateModel, type Templates, templateFiles } from "../../guest/templates.ts";
import { makeSmallDirectory, rm, writeFile } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { Driver, PrepareRequest } from "../driver.ts";
import { machineErrors } from "./errors.ts";
import { jailRequest, type JailParts } from "./jail.ts";
import { failureOf } from "./machine-failure.ts";
import { inJail } from "./machine-spec.ts";
import { nobody } from "./nobody.ts";
import { groundText, type TemplateGround, templateKey, templateShape } from "./template-key.ts";

export interface TemplateMakerOptions {
  readonly host: Host;
  readonly containers: Driver;
  readonly templates: Templates;
  readonly log: Logger;
  /** Called when there is one more. */
  readonly made: () => void;
}

/** What a template would be made of now. */
export interface TemplateWorld {
  /** Digest of the guest's kernel and agent. */
  readonly kit: string;
  /** Path of berth-vmm. */
  readonly vmm: string;
  readonly imagePath: (image: string) => string;
}

/** A machine that could have come from a template. */
export interface TemplateRequest {
  readonly request: PrepareRequest;
  readonly fields: readonly Field[];
  readonly parts: JailParts;
  readonly key: string;
  /** See {@link groundText}. */
  readonly ground: string;
  /** Makes a scratch disk as that of a new machine. */
  readonly scratch: (path: string) => Promise<void>;
}

const makeMs = 300_000;
const maxFailures = 3;

export class TemplateMaker {
  readonly #options: TemplateMakerOptions;
  readonly #closing = new AbortController();
  readonly #digests = new Map<string, { readonly seen: string; readonly digest: string }>();
  readonly #wanted = new Map<string, TemplateRequest>();
  /** How often one could not be made or restored in this engine's life: in the end it is given up. */
  readonly #failures = new Map<string, number>();
  #working: Promise<void> | undefined;
  #collecting: Promise<void> = Promise.resolve();

  constructor(options: TemplateMakerOptions) {
    this.#options = options;
  }

  /** Undefined when no template can be had for it. */
  async keyOf(
    fields: readonly Field[],
    facts: { readonly kit: string; readonly parts: JailParts },
  ): Promise<{ readonly key: string; readonly ground: string } | undefined> {
    const { vmm, image, kvm } = facts.parts;
    const ground = await this.#groundOf({ kit: facts.kit, vmm, image, kvm });
    const key = ground === undefined ? undefined : templateKey(fields, ground);
    if (ground === undefined || key === undefined || !this.#options.templates.allows(key)) return undefined;
    return { key, ground: groundText(ground) };
  }

  /** Removes, in the background, templates of another QEMU, kernel, agent, processor, or of an image's disk that was made anew. */
  dropStale(now: TemplateWorld): void {
    const before = this.#collecting;
    const collect = async () => {
      await before;
      await this.#dropStale(now);
    };
    this.#collecting = collect();
  }

  find(key: string): Template | undefined {
    return this.#options.templates.find(key);
  }

  /** A restored machine did not come up: the template is no good. */
  async reject(key: string, reason: string): Promise<void> {
    this.#options.log.warn(
      { template: key, reason },
      "a machine could not be restored from its template, and was booted",
    );
    this.#countFailure(key);
    await this.#options.templates.drop(key);
  }

  /** Makes it in the background, after those that were wanted before. */
  want(wanted: TemplateRequest): void {
    if (this.#closing.signal.aborted || this.#isGivenUp(wanted.key) || this.#wanted.has(wanted.key)) return;
    this.#wanted.set(wanted.key, wanted);
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  /** Resolves when none is being made. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
    await this.#collecting;
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the engine is closing"));
    await this.settled();
  }

  #countFailure(key: string): void {
    this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
  }

  #isGivenUp(key: string): boolean {
    return (this.#failures.get(key) ?? 0) >= maxFailures;
  }

  async #work(): Promise<void> {
    const ctx: OpContext = { signal: this.#closing.signal, log: this.#options.log };
    for (const [key, wanted] of this.#wanted) {
      if (this.#closing.signal.aborted) break;
      const started = performance.now();
      try {
        await this.#options.templates.make(
          key,
          { image: imageOf(wanted.parts), ground: wanted.ground, model: modelOf(wanted) },
          (draft) => this.#save(ctx, wanted, draft),
          () => existsSync(wanted.parts.image),
        );
        ctx.log.info({ template: key, ms: Math.round(performance.now() - started) }, "made a template of machines");
        this.#options.made();
      } catch (error) {
        if (this.#closing.signal.aborted) break;
        this.#countFailure(key);
        ctx.log.warn(
          { template: key, error: messageOf(error) },
          "a template of machines can't be made: they are booted",
        );
      } finally {
        this.#wanted.delete(key);
      }
    }
  }

  /** Boots a machine like the wanted one, that is nobody, in a jail that belongs to no instance: a killed engine's is collected as such. */
  async #save(
    closing: OpContext,
    { request: like, fields, parts, scratch }: TemplateRequest,
    draft: string,
  ): Promise<void> {
    const { containers } = this.#options;
    const ctx = withTimeout(closing, makeMs);
    const id = newId();
    const request = nobody(like, id);
    const { dir } = request;
    const runDir = join(dir, "run");
    const spec = join(dir, "machine");
    const scratchPath = join(draft, templateFiles.scratch);
    await using reverter = new Reverter(ctx);
    await makeSmallDirectory(runDir, 0o700);
    reverter.add("remove the template's directory", () => rm(dir, { recursive: true, force: true }));
    await scratch(scratchPath);
    await scratch(join(draft, templateFiles.pristine));
    await writeFile(spec, encodeFields(savingFields(fields)), { mode: 0o600 });
    const jail = await jailRequest(request, {
      ...parts,
      spec,
      scratch: scratchPath,
      runDir,
      template: { directory: draft, access: "rw" },
    });
    const { handle } = await containers.prepare(ctx, jail);
    reverter.add("destroy the template's jail", (undo) => containers.destroy(undo, handle));
    await containers.start(ctx, handle);
    const { exitCode } = await containers.wait(ctx, handle);
    const failure = await failureOf(runDir);
    if (exitCode !== 0) {
      throw machineErrors.MACHINE_FAILED({
        id,
        reason: failure?.message ?? `berth-vmm ended with exit code ${exitCode}`,
      });
    }
  }

  async #dropStale(now: TemplateWorld): Promise<void> {
    const { log, templates } = this.#options;
    try {
      const matching = new Set<string>();
      // What is made meanwhile matches.
      const all = new Set(templates.list().map(({ key }) => key));
      for (const { image } of templates.list()) {
        const path = now.imagePath(image);
        if (!existsSync(path)) continue;
        for (const kvm of [true, false]) {
          const ground = await this.#groundOf({ ...now, image: path, kvm });
          // Without QEMU nothing can be told, and nothing be run.
          if (ground === undefined) return;
          matching.add(groundText(ground));
        }
      }
      const dropped = await templates.dropStale(({ ground }, key) => all.has(key) && !matching.has(ground));
      if (dropped.length > 0) log.info({ templates: dropped }, "removed templates that nothing can match any more");
    } catch (error) {
      log.warn({ error: messageOf(error) }, "templates that nothing can match stay for now");
    }
  }

  async #groundOf(of: {
    readonly kit: string;
    readonly vmm: string;
    readonly image: string;
    readonly kvm: boolean;
  }): Promise<TemplateGround | undefined> {
    const { host } = this.#options;
    const qemu = host.processes.which(`qemu-system-${host.facts.machine}`);
    if (qemu === undefined) return undefined;
    return {
      owner: String(process.getuid?.() ?? 0),
      qemu: await this.#digest(qemu),
      vmm: await this.#digest(of.vmm),
      kit: of.kit,
      image: `${basename(of.image)} ${seen(of.image)}`,
      processor: of.kvm ? `${cpus()[0]?.model ?? ""} ${host.facts.kernelRelease}` : "",
    };
  }

  /** Of a program, read again when the file is another. QEMU's has tens of megabytes: others are served meanwhile. */
  async #digest(path: string): Promise<string> {
    const now = seen(path);
    const known = this.#digests.get(path);
    if (known?.seen === now) return known.digest;
    const digest = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    this.#digests.set(path, { seen: now, digest });
    return digest;
  }
}

/** Tells a file from one that took its place. */
function seen(path: string): string {
  const { ino, size, mtimeMs } = statSync(path);
  return `${ino} ${size} ${mtimeMs}`;
}

function imageOf({ image }: JailParts): string {
  return basename(image, ".ext4");
}

function modelOf({ fields, request }: TemplateRequest): TemplateModel {
  return { fields: templateShape(fields) ?? [], memory: Math.max(0, request.spec.resources.memory) };
}

function savingFields(fields: readonly Field[]): readonly Field[] {
  const common = fields.filter(([name]) => ["kernel", "initrd", "image", "scratch", "run"].includes(name));
  return [
    ...common,
    ...(templateShape(fields) ?? []),
    ["scratch.cache", "unsafe"],
    ["ram", `${inJail.template}/${templateFiles.ram}`],
    ["ram.share", "1"],
    ["save", `${inJail.template}/${templateFiles.state}`],
  ];
}
