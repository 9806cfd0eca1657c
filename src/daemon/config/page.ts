import { defaultConfigFile } from "./load.ts";
import { settings } from "./settings.ts";

/** docs/configuration.md, from the same schema as the settings themselves. */
export function configurationPage(): string {
  const rows = settings.map(
    ({ flag, short, variable, description, default: fallback }) =>
      `| \`--${flag}\`${short === undefined ? "" : ` \`-${short}\``} | \`${variable}\` | ${description.replaceAll("|", "\\|")} | \`${JSON.stringify(fallback)}\` |\n`,
  );
  return `# Configuration

<!-- Written by \`npm run docs\` from src/schema/config.ts; change it there. -->

Settings come from, the later over the earlier: their defaults, a JSON file (\`${defaultConfigFile}\`, or \`--config-file\`), the environment, and
\`berth daemon\`'s flags. In the file a setting has its flag's name without the dashes: \`{ "data-root": "/srv/berth", "registry-mirror": ["http://127.0.0.1:5000"] }\`.
Lists are arrays in the file, separated by commas in the environment, and repeated as flags.
\`berth config show\` prints every setting with its value and where that came from.

| flag | variable | meaning | default |
|---|---|---|---|
${rows.join("")}`;
}
