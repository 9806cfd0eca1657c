import { imageErrors } from "../errors.ts";
import { formatFamiliar, type Reference } from "../reference.ts";
import type { AptSource } from "./apt-sources.ts";

/** A release of a distribution, as its archive names it. */
export interface Release {
  readonly distribution: "debian" | "ubuntu";
  /** "bookworm". */
  readonly suite: string;
}

interface Distribution {
  readonly name: Release["distribution"];
  /** Release number -> suite. */
  readonly versions: Readonly<Record<string, string>>;
  /** What "latest" is when the host does not know better. */
  readonly latest: string;
  readonly mirror: string;
  readonly securityMirror: string;
  readonly components: readonly string[];
  readonly keyring: string;
}

const DISTRIBUTIONS: readonly Distribution[] = [
  {
    name: "debian",
    versions: { "10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky" },
    latest: "stable",
    mirror: "http://deb.debian.org/debian",
    securityMirror: "http://deb.debian.org/debian-security",
    components: ["main"],
    keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
  },
  {
    name: "ubuntu",
    versions: {
      "18.04": "bionic",
      "20.04": "focal",
      "22.04": "jammy",
      "24.04": "noble",
      "25.04": "plucky",
      "25.10": "questing",
      "26.04": "resolute",
    },
    latest: "noble",
    mirror: "http://archive.ubuntu.com/ubuntu",
    securityMirror: "http://security.ubuntu.com/ubuntu",
    components: ["main", "universe"],
    keyring: "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
  },
];

/** Which release a reference means: "debian:12", "debian:bookworm-slim", "ubuntu". Throws `BOOTSTRAP_UNKNOWN_DISTRIBUTION`. */
export function releaseOf(reference: Reference, host: Release | undefined): Release {
  const name = reference.path.split("/").at(-1) ?? "";
  const distribution = DISTRIBUTIONS.find((known) => known.name === name);
  const unknown = (reason: string) =>
    imageErrors.BOOTSTRAP_UNKNOWN_DISTRIBUTION({ reference: formatFamiliar(reference), reason });
  if (distribution === undefined) throw unknown(`"${name}" is no distribution that Berth can bootstrap`);
  const tag = (reference.tag ?? "latest").replace(/-slim$/, "");
  if (tag === "latest") {
    const suite = host?.distribution === distribution.name ? host.suite : distribution.latest;
    return { distribution: distribution.name, suite };
  }
  if (/^\d/.test(tag)) {
    // "12.5" is a state of 12; the mirror has the newest only.
    const suite = distribution.versions[tag] ?? distribution.versions[tag.split(".")[0] ?? ""];
    if (suite === undefined) throw unknown(`${distribution.name} has no release ${tag} that is known here`);
    return { distribution: distribution.name, suite };
  }
  if (!/^[a-z][a-z0-9-]*$/.test(tag)) throw unknown(`"${tag}" is no release's name`);
  return { distribution: distribution.name, suite: tag };
}

/** Whether this is the name that Docker's library has a release by, and not an image of somebody's with a similar one. */
export function namesRelease(reference: Reference): boolean {
  const distribution = DISTRIBUTIONS.find(({ name }) => reference.path === `library/${name}`);
  const tag = (reference.tag ?? "latest").replace(/-slim$/, "");
  if (distribution === undefined || reference.domain !== "docker.io" || reference.digest !== undefined) return false;
  const { versions } = distribution;
  return (
    ["latest", ...Object.values(versions), ...Object.keys(versions)].includes(tag) ||
    (/^\d+\./.test(tag) && (tag.split(".")[0] ?? "") in versions)
  );
}

/** The host's own release, from the text of /etc/os-release. */
export function hostRelease(osRelease: string): Release | undefined {
  const field = (name: string) => new RegExp(`^${name}="?([^"\\n]*)"?$`, "m").exec(osRelease)?.[1];
  const distribution = DISTRIBUTIONS.find(({ name }) => name === field("ID"));
  const suite = field("VERSION_CODENAME");
  return distribution === undefined || suite === undefined || suite === ""
    ? undefined
    : { distribution: distribution.name, suite };
}

/**
 * Where the release comes from: the host's own sources of that suite and its updates; else, of the same distribution, the host's
 * mirror with the other suite; else the distribution's own mirror.
 */
export function sourcesOf(
  release: Release,
  host: Release | undefined,
  hostSources: readonly AptSource[],
): readonly AptSource[] {
  const own = ofSuite(hostSources, release.suite);
  if (own.some(({ suite }) => suite === release.suite)) return own;
  const sibling = host?.distribution === release.distribution ? ofSuite(hostSources, host.suite) : [];
  if (host !== undefined && sibling.some(({ suite }) => suite === host.suite)) {
    return sibling.map((source) => ({ ...source, suite: source.suite.replace(host.suite, release.suite) }));
  }
  return defaultSources(release);
}

/** The release from one mirror that the user named; trust is the host's. */
export function sourcesOfMirror(release: Release, mirror: string): readonly AptSource[] {
  const { components } = distributionOf(release);
  return [{ uri: mirror, suite: release.suite, components }];
}

function defaultSources(release: Release): readonly AptSource[] {
  const { mirror, securityMirror, components, keyring } = distributionOf(release);
  const signedBy = { path: keyring };
  const base = [{ uri: mirror, suite: release.suite, components, signedBy }];
  // Debian's rolling suites have neither.
  if (["sid", "unstable", "testing", "forky"].includes(release.suite)) return base;
  return [
    ...base,
    { uri: mirror, suite: `${release.suite}-updates`, components, signedBy },
    { uri: securityMirror, suite: `${release.suite}-security`, components, signedBy },
  ];
}

/** "bookworm", "bookworm-updates", "bookworm-security", "bookworm/updates"; not backports, which nobody asked for. */
function ofSuite(sources: readonly AptSource[], suite: string): readonly AptSource[] {
  const wanted = [suite, `${suite}-updates`, `${suite}-security`, `${suite}/updates`];
  return sources.filter((source) => wanted.includes(source.suite));
}

function distributionOf(release: Release): Distribution {
  const found = DISTRIBUTIONS.find(({ name }) => name === release.distribution);
  if (found === undefined) throw new Error(`unreachable: no distribution ${release.distribution}`);
  return found;
}
