import type { OpContext } from "../../base/op-context.ts";
import type { Host } from "../../host/host.ts";
import type { OciSeccomp, OciSpec } from "./spec/oci-spec.ts";

/** crun takes a ready BPF program in this annotation (base64) and need not compile the specification's filter. */
const annotation = "run.oci.seccomp_bpf_data";
/** Programs kept; most containers share one. */
const kept = 16;

/** Compiles each filter once, since a container's start is the wrong time for it: 15 ms of 30. */
export class CompiledFilters {
  readonly #host: Host;
  readonly #programs = new Map<string, Promise<string | undefined>>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** `spec` with its filter's program, where it has a filter that can be compiled ahead. */
  async attach(ctx: OpContext, spec: OciSpec): Promise<OciSpec> {
    const { seccomp } = spec.linux;
    if (seccomp === undefined || asksListener(seccomp)) return spec;
    const program = await this.#program(ctx, seccomp);
    return program === undefined ? spec : { ...spec, annotations: { ...spec.annotations, [annotation]: program } };
  }

  async #program(ctx: OpContext, seccomp: OciSeccomp): Promise<string | undefined> {
    const key = JSON.stringify(seccomp);
    const known = this.#programs.get(key);
    if (known !== undefined) return await known;
    const [oldest] = this.#programs.keys();
    if (this.#programs.size >= kept && oldest !== undefined) this.#programs.delete(oldest);
    const program = this.#compile(ctx, seccomp);
    this.#programs.set(key, program);
    try {
      return await program;
    } catch (error) {
      this.#programs.delete(key);
      throw error;
    }
  }

  async #compile(ctx: OpContext, seccomp: OciSeccomp): Promise<string | undefined> {
    const program = await this.#host.kernel.compileSeccomp(ctx, seccomp);
    return program === undefined ? undefined : Buffer.from(program).toString("base64");
  }
}

/** A filter that hands system calls to another process needs the runtime for it. */
function asksListener(seccomp: OciSeccomp): boolean {
  return seccomp.listenerPath !== undefined || seccomp.syscalls.some(({ action }) => action === "SCMP_ACT_NOTIFY");
}
