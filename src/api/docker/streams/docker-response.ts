import { type IncomingMessage, ServerResponse } from "node:http";

/**
 * A response whose headers are spelt as Docker spells them ("Api-Version"), whoever sets them: Fastify knows names in lower case only.
 * HTTP takes both; scripts that read `curl -I` don't.
 */
export class DockerResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  override setHeader(name: string, value: number | string | readonly string[]): this {
    return super.setHeader(spelt(name), value);
  }
}

const known = new Map<string, string>();

/** "api-version" is "Api-Version". */
export function spelt(name: string): string {
  const found = known.get(name);
  if (found !== undefined) return found;
  const spelling = name.toLowerCase().replaceAll(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase());
  // The names are ours: few, and none of them a client's.
  known.set(name, spelling);
  return spelling;
}
