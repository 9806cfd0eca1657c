import type { Descriptor, ImageConfig, Platform } from "../schema/image.ts";
import { imageErrors } from "./errors.ts";

/** Names that `uname -m` and people use, as GOARCH names with their variant. */
const ARCHITECTURES: Readonly<Record<string, { readonly architecture: string; readonly variant?: string }>> = {
  x86_64: { architecture: "amd64" },
  "x86-64": { architecture: "amd64" },
  i386: { architecture: "386" },
  i686: { architecture: "386" },
  aarch64: { architecture: "arm64" },
  armhf: { architecture: "arm", variant: "v7" },
  armel: { architecture: "arm", variant: "v6" },
};

/** GOOS and GOARCH names, to tell what one word alone means. */
const OPERATING_SYSTEMS: ReadonlySet<string> = new Set(["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd"]);
const KNOWN_ARCHITECTURES: ReadonlySet<string> = new Set(
  "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split(" "),
);

/** Parses `--platform`: "linux/arm64/v8", "arm64", "linux". Missing parts are the host's. Throws `IMAGE_PLATFORM_INVALID`. */
export function parsePlatform(text: string, host: Platform): Platform {
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw imageErrors.IMAGE_PLATFORM_INVALID({ platform: text });
  }
  const [first = "", second, third] = parts;
  if (second === undefined) {
    if (OPERATING_SYSTEMS.has(first)) return normalisePlatform({ ...host, os: first });
    const platform = normalisePlatform({ os: host.os, architecture: first });
    if (!KNOWN_ARCHITECTURES.has(platform.architecture)) throw imageErrors.IMAGE_PLATFORM_UNKNOWN({ platform: text });
    return platform;
  }
  return normalisePlatform({ os: first, architecture: second, ...(third === undefined ? {} : { variant: third }) });
}

/** One spelling for what is the same: aarch64 is arm64, arm64/v8 is arm64, amd64/v1 is amd64, arm is arm/v7. */
export function normalisePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const named = platform.architecture.toLowerCase();
  const alias = ARCHITECTURES[named];
  const architecture = alias?.architecture ?? named;
  const given = platform.variant?.toLowerCase().replace(/^(\d)/, "v$1") || alias?.variant;
  const variant =
    architecture === "arm"
      ? (given ?? "v7")
      : (architecture === "arm64" && given === "v8") || (architecture === "amd64" && given === "v1")
        ? undefined
        : given;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/** "linux/arm64", "linux/arm/v7". */
export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join("/");
}

/** What an image was made for. */
export function platformOf(config: ImageConfig): Platform {
  return normalisePlatform({
    os: config.os,
    architecture: config.architecture,
    ...(config.variant === undefined || config.variant === "" ? {} : { variant: config.variant }),
  });
}

/** Whether something made for `candidate` runs where `wanted` does: lower variants of the same architecture do. */
export function platformSatisfies(candidate: Platform, wanted: Platform): boolean {
  return rank(normalisePlatform(candidate), normalisePlatform(wanted)) !== undefined;
}

/**
 * The manifests of an index that run on `wanted`, best first: the highest variant that it can run.
 * Entries for "unknown/unknown" (build attestations) are none.
 */
export function matchingManifests(manifests: readonly Descriptor[], wanted: Platform): readonly Descriptor[] {
  const target = normalisePlatform(wanted);
  const ranked = manifests.flatMap((descriptor) => {
    // An entry without a platform says nothing against itself, but any that names the platform goes first.
    const score = descriptor.platform === undefined ? -1 : rank(normalisePlatform(descriptor.platform), target);
    return score === undefined ? [] : [{ descriptor, score }];
  });
  return ranked.sort((a, b) => b.score - a.score).map(({ descriptor }) => descriptor);
}

/** Higher is better; undefined does not run. Plain amd64 and arm64 are variants v1 and v8. */
function rank(candidate: Platform, wanted: Platform): number | undefined {
  if (candidate.os !== wanted.os || candidate.architecture !== wanted.architecture) return undefined;
  const have = variantNumber(candidate);
  const want = variantNumber(wanted);
  return have <= want ? have : undefined;
}

function variantNumber(platform: Platform): number {
  const base = platform.architecture === "arm64" ? 8 : 1;
  const stated = /^v(\d+)/.exec(platform.variant ?? "")?.[1];
  return stated === undefined ? base : Number(stated);
}
