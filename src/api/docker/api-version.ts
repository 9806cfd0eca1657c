import { apiErrors } from "./errors.ts";

export const maximumApiVersion = "1.51";
export const minimumApiVersion = "1.24";

/** A version of the Docker Engine API, 1.24 to 1.51. */
export class ApiVersion {
  static readonly current = new ApiVersion(51, maximumApiVersion);
  readonly text: string;
  readonly #minor: number;

  private constructor(minor: number, text: string) {
    this.#minor = minor;
    this.text = text;
  }

  /** Of the "1.43" in a path, or of none. Throws the errors that Docker's clients know. */
  static of(text: string | undefined): ApiVersion {
    if (text === undefined || text === maximumApiVersion) return ApiVersion.current;
    const known = versions.get(text);
    if (known !== undefined) return known;
    const [major = 0, minor = 0] = text.split(".").map(Number);
    if (major < 1 || (major === 1 && minor < 24))
      throw apiErrors.API_CLIENT_TOO_OLD({ version: text, minimum: minimumApiVersion });
    if (major > 1 || minor > 51) throw apiErrors.API_CLIENT_TOO_NEW({ version: text, maximum: maximumApiVersion });
    const version = new ApiVersion(minor, text);
    versions.set(text, version);
    return version;
  }

  /** Whether it is 1.`minor` or later. */
  atLeast(minor: number): boolean {
    return this.#minor >= minor;
  }
}

const versions = new Map<string, ApiVersion>();
