/**
 * Mirrors of the registry `domain` among those configured: "URL" is one of docker.io (which is all that Docker's own setting knows),
 * "REGISTRY=URL" one of another registry.
 */
export function mirrorsOf(domain: string, configured: readonly string[]): readonly string[] {
  return configured.flatMap((entry) => {
    const [, registry = "docker.io", url = ""] = /^(?:([^=/]+)=)?(.*)$/.exec(entry) ?? [];
    return registry === domain ? [url] : [];
  });
}
