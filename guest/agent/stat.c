/* What is at a path of the workload's root, as `docker cp` asks before it copies. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Links on the way are followed inside the root (chroot for a moment: this is the only thread). In the agent's namespace: what the
 * workload has mounted itself is not seen, as in a container that is looked at from outside.
 */
bool describe_path(struct fields fields, struct bytes *reply, struct failure *failure) {
  const char *path = field(fields, "path");
  struct stat found;
  char target[4097] = "";
  int own = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (own < 0 || chroot(ROOT) < 0 || chdir("/") < 0) return fail(failure, "system", errno, "entering the root file system");
  int done = lstat(path, &found), error = errno;
  if (done == 0 && S_ISLNK(found.st_mode) && readlink(path, target, sizeof target - 1) < 0) target[0] = 0;
  if (fchdir(own) < 0 || chroot(".") < 0) abort();
  close(own);
  if (done < 0) return fail(failure, "system", error, "%.200s", path);
  const char *slash = strrchr(path, '/');
  fields_add(reply, "name", "%s", slash == NULL ? path : slash + 1);
  fields_add(reply, "mode", "%u", (unsigned)found.st_mode);
  fields_add(reply, "size", "%lld", (long long)found.st_size);
  fields_add(reply, "mtime", "%lld", (long long)found.st_mtime);
  if (target[0] != 0) fields_add(reply, "link", "%s", target);
  return true;
}
