import { ociErrors } from "../errors.ts";
import type { OciUser } from "./oci-spec.ts";

export interface UserRequest {
  /** "", "user", "uid", "user:group", "uid:gid". */
  readonly user: string;
  /** Extra groups, names or ids. */
  readonly groupAdd: readonly string[];
  /** Text of the root file system's /etc/passwd and /etc/group; "" when it has none. */
  readonly passwd: string;
  readonly group: string;
}

export interface ResolvedUser extends OciUser {
  readonly home: string;
}

/**
 * Who a process runs as, by the container's own files. A number that is not in them is taken as it is (home "/",
 * group 0); a name that is not is `USER_NOT_FOUND`. Supplementary groups are those that list the user, unless a
 * group was given.
 */
export function resolveUser(request: UserRequest): ResolvedUser {
  const [userName = "", groupName = ""] = split(request.user);
  const account = findAccount(userName, request.passwd);
  const groups = parseGroups(request.group);
  const gid = groupName === "" ? account.gid : resolveGroup(groupName, groups);
  const own =
    groupName === "" && account.name !== ""
      ? groups.filter((group) => group.members.includes(account.name)).map((group) => group.gid)
      : [];
  const added = request.groupAdd.map((name) => resolveGroup(name, groups));
  return { uid: account.uid, gid, additionalGids: [...new Set([gid, ...own, ...added])], home: account.home };
}

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

function split(user: string): readonly string[] {
  const colon = user.indexOf(":");
  return colon < 0 ? [user] : [user.slice(0, colon), user.slice(colon + 1)];
}

function findAccount(wanted: string, passwd: string): Account {
  const uid = wanted === "" ? 0 : numberOf(wanted);
  const found = parseAccounts(passwd).find((account) =>
    uid === undefined ? account.name === wanted : account.uid === uid,
  );
  if (found !== undefined) return found;
  if (uid === undefined) throw ociErrors.USER_NOT_FOUND({ kind: "user", name: wanted });
  return { name: "", uid: inRange(uid), gid: 0, home: "/" };
}

function resolveGroup(wanted: string, groups: readonly Group[]): number {
  const gid = numberOf(wanted);
  const found = groups.find((group) => (gid === undefined ? group.name === wanted : group.gid === gid));
  if (found !== undefined) return found.gid;
  if (gid === undefined) throw ociErrors.USER_NOT_FOUND({ kind: "group", name: wanted });
  return inRange(gid);
}

function numberOf(text: string): number | undefined {
  return /^-?\d+$/.test(text) ? Number(text) : undefined;
}

function inRange(id: number): number {
  if (id < 0 || id > 0x7fff_ffff) throw ociErrors.USER_ID_OUT_OF_RANGE({ id: String(id) });
  return id;
}

function parseAccounts(text: string): readonly Account[] {
  return records(text).map(([name = "", , uid, gid, , home]) => ({
    name,
    uid: Number(uid ?? 0),
    gid: Number(gid ?? 0),
    home: home === undefined || home === "" ? "/" : home,
  }));
}

function parseGroups(text: string): readonly Group[] {
  return records(text).map(([name = "", , gid, members]) => ({
    name,
    gid: Number(gid ?? 0),
    members: (members ?? "").split(",").map((member) => member.trim()),
  }));
}

function records(text: string): readonly (readonly string[])[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
}
