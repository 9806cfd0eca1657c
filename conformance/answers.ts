/** What a failed case wanted and what engines answered it, in a line, from the lines that podman's runner prints of each failed check. */

interface Check {
  /** ".Config.Cmd", "status", or the test's own words. */
  readonly what: string;
  readonly wanted: string;
  readonly answered: string;
}

const checksTold = 2;
const longestValue = 70;

/** Undefined where a detail tells no expectation. */
export function wantedAndAnswered(ours: string, theirs: string): string | undefined {
  const checks = checksOf(ours);
  const other = checksOf(theirs);
  if (checks.length === 0 || other.length === 0) return undefined;
  const lines = checks.slice(0, checksTold).map((check) => {
    const same = other.filter(({ what }) => what === check.what);
    // What is wanted may be of the run itself: an id, a size.
    const their = same.find(({ wanted }) => wanted === check.wanted) ?? same[0];
    const wanted = `Wants ${check.what} ${check.wanted}`;
    if (their === undefined) return `${wanted}; Docker answers that, Berth ${check.answered}`;
    return their.answered === check.answered
      ? `${wanted}; Docker and Berth answer ${check.answered}`
      : `${wanted}; Docker answers ${their.answered}, Berth ${check.answered}`;
  });
  const more = checks.length - lines.length;
  return `${lines.join(". ")}${more > 0 ? `, and ${more} more of its checks ${more === 1 ? "fails" : "fail"}` : ""}.`;
}

/** "title / expected: … / actual: … / response: …", over and over. A check without a title of its own is of the status. */
function checksOf(detail: string): readonly Check[] {
  const checks: { what: string; wanted?: string; answered?: string }[] = [];
  for (const line of detail.replaceAll("\r", "").split("\n")) {
    const [, key, value = ""] = /^(expected|actual|response):\s*(.*)$/.exec(line) ?? [];
    let current = checks.at(-1);
    switch (key) {
      case undefined:
        checks.push({ what: subjectOf(line) });
        break;
      case "expected":
        // A check whose title was lost in what a request answered is not told: of which request it is nobody knows.
        if (current === undefined || current.wanted !== undefined) checks.push((current = { what: "" }));
        current.wanted = wantedValue(value);
        break;
      case "actual":
        if (current !== undefined) current.answered = told(value);
        break;
      case "response": {
        const message = /"message":"((?:[^"\\]|\\.)*)"/.exec(value)?.[1]?.replaceAll('\\"', '"');
        if (current?.answered !== undefined && message !== undefined) current.answered += ` (${shortened(message)})`;
        break;
      }
    }
  }
  return checks.flatMap(({ what, wanted, answered }) =>
    what === "" || wanted === undefined || answered === undefined ? [] : [{ what, wanted, answered }],
  );
}

/** The last part of "GET images/json : .[0].Id"; the words of checks that the test makes by itself in quotes. */
function subjectOf(title: string): string {
  if (title === "status") return title;
  const at = title.lastIndexOf(" : ");
  if (at < 0) return `“${title}” to be`;
  const subject = title.slice(at + " : ".length);
  return subject.startsWith(".") || subject.includes("(") ? `\`${subject}\`` : subject;
}

function wantedValue(value: string): string {
  return value.startsWith("~ ") ? `like ${told(value.slice(2))}` : told(value);
}

/** Numbers as they are, all else as code; what is empty, no text or over several lines is said to be. */
function told(value: string): string {
  // Frames of a stream begin with such characters.
  const text = value.replace(/\p{Cc}/gu, " ").trim();
  if (text === "") return "nothing";
  if (/^\d+$/.test(text)) return text;
  if (text.includes("ustar")) return "a tar archive that `file` does not call so";
  if (text === "{" || text === "[") return `\`${text} …\``;
  return `\`${shortened(text.replaceAll("`", "'"))}\``;
}

function shortened(value: string): string {
  return value.length <= longestValue ? value : `${value.slice(0, longestValue - 1)}…`;
}
