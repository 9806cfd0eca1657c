import { apiErrors } from "../errors.ts";

/** Docker gives a reference in two parameters; the second may be a tag or a digest, or be empty. */
export function repositoryReference(repository: string, tag: string): string {
  // "pull -a" of older clients ends in a colon.
  const name = repository.replace(/:$/, "");
  if (tag === "") return name;
  if (tag.includes(":")) return `${name.replace(/@.*$/, "")}@${tag}`;
  if (name.includes("@"))
    throw apiErrors.API_BAD_REQUEST({ message: "refusing to create a tag with a digest reference" });
  return `${name.replace(/:[^/:]*$/, "")}:${tag}`;
}
