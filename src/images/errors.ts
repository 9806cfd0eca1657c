import { defineErrors } from "../base/errors.ts";

/** Everything that can go wrong with images. Wording and status follow Docker's where it has them: its users match on them. */
export const imageErrors = defineErrors({
  IMAGE_REFERENCE_INVALID: {
    status: 400,
    message: (p: { reference: string; reason?: string }) =>
      `invalid reference format${p.reason === undefined ? "" : `: ${p.reason}`}`,
    hint: (p) => `"${p.reference}" is not [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST], with NAME in lower case`,
  },
  IMAGE_NOT_FOUND: {
    status: 404,
    message: (p: { reference: string }) => `No such image: ${p.reference}`,
    hint: () => "list what is there with `images`, or pull it first",
  },
  IMAGE_ID_AMBIGUOUS: {
    status: 400,
    message: (p: { prefix: string; matches: number }) =>
      `image id prefix ${p.prefix} is ambiguous: ${p.matches} images start with it`,
    hint: () => "give more digits of the id",
  },
  IMAGE_REFERENCED_BY_ID: {
    status: 400,
    message: (p: { reference: string }) => `refusing to create a tag with a digest reference: ${p.reference}`,
  },
  IMAGE_IN_USE: {
    status: 409,
    message: (p: { message: string }) => `conflict: ${p.message}`,
  },
  IMAGE_PLATFORM_MISMATCH: {
    status: 404,
    message: (p: { reference: string; wanted: string; actual: string }) =>
      `image with reference ${p.reference} was found but its platform (${p.actual}) does not match the specified platform (${p.wanted})`,
  },
  IMAGE_PLATFORM_INVALID: {
    status: 400,
    message: (p: { platform: string }) => `"${p.platform}" is an invalid platform: want OS/ARCHITECTURE[/VARIANT]`,
  },
  IMAGE_PLATFORM_UNKNOWN: {
    status: 400,
    message: (p: { platform: string }) => `"${p.platform}": unknown operating system or architecture`,
    hint: () => "Give OS/ARCHITECTURE[/VARIANT], as linux/arm64.",
  },
  NO_MATCHING_PLATFORM: {
    status: 404,
    message: (p: { wanted: string; available: readonly string[] }) =>
      `no matching manifest for ${p.wanted} in the manifest list entries`,
    hint: (p) => `the list has: ${p.available.join(", ") || "nothing"}`,
  },
  IMAGE_DOCUMENT_INVALID: {
    status: 500,
    message: (p: { what: string; reason: string }) => `invalid ${p.what}: ${p.reason}`,
  },
  MANIFEST_TYPE_UNSUPPORTED: {
    status: 400,
    message: (p: { name: string; mediaType: string }) =>
      `unsupported manifest media type ${p.mediaType || '""'} of ${p.name}`,
    hint: () => "OCI and Docker schema 2 images can be used; push a Docker schema 1 image again with a newer client",
  },
  IMAGE_NOT_RUNNABLE: {
    status: 400,
    message: (p: { name: string; mediaType: string }) =>
      `${p.name} is not a container image: its configuration is of type ${p.mediaType}`,
  },
  IMAGE_LAYERS_MISMATCH: {
    status: 400,
    message: (p: { name: string; layers: number; diffIds: number }) =>
      `invalid image ${p.name}: its manifest has ${p.layers} layers, its configuration ${p.diffIds}`,
  },
  IMAGE_LAYER_MISSING: {
    status: 500,
    message: (p: { image: string; digest: string }) => `layer ${p.digest} of image ${p.image} is not in the store`,
    hint: () => "pull or load the image again",
  },
  REGISTRY_UNREACHABLE: {
    status: 500,
    message: (p: { host: string; reason: string; attempts: number }) =>
      `cannot reach registry ${p.host}: ${p.reason}${p.attempts > 1 ? ` (tried ${p.attempts} times)` : ""}`,
    hint: (p) => `check that ${p.host} is up and that its name, port and proxy settings are right`,
  },
  REGISTRY_TLS_FAILED: {
    status: 500,
    message: (p: { host: string; reason: string }) =>
      `cannot verify the certificate of registry ${p.host}: ${p.reason}`,
    hint: (p) =>
      `put its CA into /etc/docker/certs.d/${p.host}/ca.crt, or name it in insecure-registries if you trust the network`,
  },
  REGISTRY_NOT_TLS: {
    status: 500,
    message: (p: { host: string }) => `registry ${p.host} gave an HTTP response to an HTTPS client`,
    hint: (p) => `name ${p.host} in insecure-registries if it is meant to be spoken to without TLS`,
  },
  REGISTRY_FAILED: {
    status: 500,
    message: (p: { request: string; status: number; detail: string }) =>
      `${p.request}: unexpected status from the registry: ${p.status}${p.detail === "" ? "" : `: ${p.detail}`}`,
  },
  REGISTRY_UNAUTHORIZED: {
    status: 500,
    message: (p: { host: string; detail: string }) => p.detail || `unauthorized: registry ${p.host} wants credentials`,
    hint: (p) => `log in first: docker login ${p.host}`,
  },
  LOGIN_REFUSED: {
    status: 401,
    message: (p: { url: string; reason: string }) => `login attempt to ${p.url} failed with ${p.reason}`,
    hint: () => "check the user name and the password",
  },
  REGISTRY_TOO_MANY_REQUESTS: {
    status: 429,
    message: (p: { host: string; detail: string }) =>
      `toomanyrequests: ${p.detail || `registry ${p.host} limits its rate`}`,
    hint: () => "wait, log in, or configure a registry mirror",
  },
  REGISTRY_RESPONSE_INVALID: {
    status: 500,
    message: (p: { host: string; reason: string }) => `registry ${p.host} answered against the protocol: ${p.reason}`,
  },
  PULL_ACCESS_DENIED: {
    status: 404,
    message: (p: { name: string; detail: string }) =>
      `pull access denied for ${p.name}, repository does not exist or may require 'docker login'${p.detail === "" ? "" : `: ${p.detail}`}`,
  },
  PUSH_ACCESS_DENIED: {
    status: 403,
    message: (p: { name: string; detail: string }) =>
      `push access denied for ${p.name}: ${p.detail || "requested access to the resource is denied"}`,
    hint: () => "log in as a user who may write there, or tag the image into a repository of yours",
  },
  MANIFEST_NOT_FOUND: {
    status: 404,
    message: (p: { reference: string }) => `manifest for ${p.reference} not found: manifest unknown: manifest unknown`,
  },
  REGISTRY_BLOB_NOT_FOUND: {
    status: 404,
    message: (p: { repository: string; digest: string }) => `blob ${p.digest} is not in repository ${p.repository}`,
  },
  REGISTRY_DIGEST_MISMATCH: {
    status: 500,
    message: (p: { reference: string; expected: string; actual: string }) =>
      `${p.reference} has the wrong content: want ${p.expected}, got ${p.actual}`,
    hint: () => "the registry or something on the way altered it; nothing was kept",
  },
  PUSH_NO_TAGS: {
    status: 404,
    message: (p: { name: string }) => `An image does not exist locally with the tag: ${p.name}`,
  },
  PUSH_BY_DIGEST: {
    status: 400,
    message: () => "cannot push a digest reference",
  },
  CREDENTIALS_INVALID: {
    status: 500,
    message: (p: { path: string; reason: string }) => `cannot read credentials from ${p.path}: ${p.reason}`,
  },
  CREDENTIAL_HELPER_FAILED: {
    status: 500,
    message: (p: { helper: string; reason: string }) => `error getting credentials: ${p.helper}: ${p.reason}`,
    hint: (p) => `run \`${p.helper} list\` by hand, or remove it from Docker's config.json`,
  },
  ARCHIVE_NOT_AN_IMAGE: {
    status: 400,
    message: (p: { reason: string }) => `invalid archive: ${p.reason}`,
    hint: () => "want what `docker save` or an OCI layout has: a tar with manifest.json or index.json",
  },
  ARCHIVE_TOO_OLD: {
    status: 400,
    message: () =>
      "invalid archive: it is of the format before Docker 1.10 (ID/layer.tar with no manifest.json), which Berth does not read",
    hint: () =>
      "load it into a Docker engine that still reads it (28 with the overlay2 driver does) and save it there anew",
  },
  BOOTSTRAP_UNKNOWN_DISTRIBUTION: {
    status: 400,
    message: (p: { reference: string; reason: string }) => `cannot bootstrap ${p.reference}: ${p.reason}`,
    hint: () => "known are debian and ubuntu with a release's number or code name, e.g. debian:bookworm",
  },
  BOOTSTRAP_UNAVAILABLE: {
    status: 500,
    message: (p: { reason: string }) => `cannot bootstrap: ${p.reason}`,
    hint: () => "install mmdebstrap (apt-get install mmdebstrap)",
  },
  BOOTSTRAP_FAILED: {
    status: 500,
    message: (p: { reference: string; mirror: string; reason: string }) =>
      `bootstrapping ${p.reference} from ${p.mirror} failed: ${p.reason}`,
    hint: () => "check that the mirror can be reached and that its signing key is in the host's keyrings",
  },
  PRUNE_FILTER_INVALID: {
    status: 400,
    message: (p: { filter: string; value: string }) => `invalid filter '${p.filter}=${p.value}'`,
  },
});
