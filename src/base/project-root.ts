import { existsSync } from "node:fs";

/** The directory with our package.json: above `src/` in the sources, above `dist/` in the build, where modules lie in other depths. */
export function projectRoot(): URL {
  let directory = new URL(".", import.meta.url);
  while (!existsSync(new URL("package.json", directory)) && directory.pathname !== "/")
    directory = new URL("..", directory);
  return directory;
}
