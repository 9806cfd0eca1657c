import type { DockerContainerConfig } from "../../../schema/docker/container.ts";
import type { ImageRunConfig } from "../../../schema/image.ts";
import { healthcheck } from "./create-container.ts";

/** The configuration that a commit's client sent; undefined when it stated nothing (`docker commit` sends `{}`). */
export function commitConfig(body: DockerContainerConfig): ImageRunConfig | undefined {
  const list = (value: readonly string[] | string | null | undefined) =>
    value === null || value === undefined ? undefined : typeof value === "string" ? [value] : [...value];
  const keys = (value: Readonly<Record<string, unknown>> | null | undefined) =>
    value ? Object.fromEntries(Object.keys(value).map((key) => [key, {}])) : undefined;
  const check = healthcheck(body.Healthcheck);
  const fields: { [K in keyof ImageRunConfig]-?: ImageRunConfig[K] | undefined } = {
    User: body.User || undefined,
    ExposedPorts: keys(body.ExposedPorts),
    Env: list(body.Env),
    Entrypoint: list(body.Entrypoint),
    Cmd: list(body.Cmd),
    Volumes: keys(body.Volumes),
    WorkingDir: body.WorkingDir || undefined,
    Labels: body.Labels ?? undefined,
    StopSignal: body.StopSignal || undefined,
    ArgsEscaped: body.ArgsEscaped || undefined,
    Healthcheck: check ?? undefined,
    OnBuild: list(body.OnBuild),
    Shell: list(body.Shell),
  };
  const stated = Object.entries(fields).filter(([, value]) => value !== undefined);
  // Only members that are set are left, each with its own type.
  return stated.length === 0 ? undefined : (Object.fromEntries(stated) as ImageRunConfig);
}
