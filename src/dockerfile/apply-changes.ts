import type { ImageRunConfig } from "../schema/image.ts";

/**
 * Applies Dockerfile instructions to an image's run configuration, as `docker commit --change` and `docker import --change` do.
 * Allowed: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR.
 * Throws `DOCKERFILE_CHANGE_INVALID` naming the instruction otherwise.
 */
export type ApplyChanges = (config: ImageRunConfig, changes: readonly string[]) => ImageRunConfig;
