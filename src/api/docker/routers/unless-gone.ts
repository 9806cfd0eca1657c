import { isBerthError } from "../../../base/errors.ts";

/** What is asked about each item of a list takes time, in which the item may be removed: undefined then. */
export async function unlessGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isBerthError(error) && error.status === 404) return undefined;
    throw error;
  }
}
