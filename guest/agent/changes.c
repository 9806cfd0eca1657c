/*
 * What the workload has changed in its image (`docker diff`), in a child in the agent's own root: a file has changed when its type, mode,
 * owner, size, time or capability has; a directory when its mode or owner has. That a change is one of its parents too, the engine adds.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define LONGEST 8192

bool is_whiteout(const struct stat *file) { return S_ISCHR(file->st_mode) && file->st_rdev == makedev(0, 0); }

bool is_opaque(const char *path) {
  char value[8];
  return lgetxattr(path, "trusted.overlay.opaque", value, sizeof value) > 0 && value[0] == 'y';
}

_Noreturn static void give_up(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void tell(char kind, const char *path) {
  if (printf("%c%s", kind, path) < 0 || putchar(0) == EOF) give_up("stdout");
}

static bool same_capability(const char *a, const char *b) {
  char ours[256], theirs[256];
  ssize_t length = lgetxattr(a, "security.capability", ours, sizeof ours);
  return length == lgetxattr(b, "security.capability", theirs, sizeof theirs) && (length <= 0 || memcmp(ours, theirs, (size_t)length) == 0);
}

static bool differs(const char *path, const struct stat *now, const char *old_path, const struct stat *old) {
  if (now->st_mode != old->st_mode || now->st_uid != old->st_uid || now->st_gid != old->st_gid) return true;
  if (S_ISDIR(now->st_mode)) return false;
  if (now->st_size != old->st_size || now->st_mtim.tv_sec != old->st_mtim.tv_sec || now->st_mtim.tv_nsec != old->st_mtim.tv_nsec) return true;
  return S_ISREG(now->st_mode) && !same_capability(path, old_path);
}

/* Names in order; none for a directory that has gone. */
static int names_in(const char *path, struct dirent ***names) {
  int count = scandir(path, names, NULL, alphasort);
  if (count < 0 && errno != ENOENT && errno != ENOTDIR) give_up(path);
  return count < 0 ? 0 : count;
}

static bool is_name(const char *name) { return strcmp(name, ".") != 0 && strcmp(name, "..") != 0; }

/* `path` is "" or begins with a slash. `below`: the image has this directory; `opaque`: but nothing of it shows. */
static void compare(const char *path, bool below, bool opaque) {
  struct dirent **names, **old_names;
  char upper[LONGEST], lower[LONGEST];
  snprintf(upper, sizeof upper, UPPER "%s", path);
  int count = names_in(upper, &names);
  for (int i = 0; i < count; i++) {
    struct stat now, old;
    char child[LONGEST - 64];
    if (!is_name(names[i]->d_name) || snprintf(child, sizeof child, "%s/%s", path, names[i]->d_name) >= (int)sizeof child) continue;
    snprintf(upper, sizeof upper, UPPER "%s", child);
    snprintf(lower, sizeof lower, IMAGE "%s", child);
    if (lstat(upper, &now) < 0) continue; /* It has gone meanwhile. */
    bool was = below && lstat(lower, &old) == 0;
    if (is_whiteout(&now)) {
      if (was) tell('D', child);
      continue;
    }
    if (!was) tell('A', child);
    else if (differs(upper, &now, lower, &old)) tell('C', child);
    if (S_ISDIR(now.st_mode)) compare(child, was && S_ISDIR(old.st_mode), opaque || is_opaque(upper));
  }
  snprintf(lower, sizeof lower, IMAGE "%s", path);
  int old_count = opaque && below ? names_in(lower, &old_names) : 0;
  for (int i = 0; i < old_count; i++) {
    char child[LONGEST - 64];
    struct stat now;
    if (is_name(old_names[i]->d_name) && snprintf(child, sizeof child, "%s/%s", path, old_names[i]->d_name) < (int)sizeof child) {
      snprintf(upper, sizeof upper, UPPER "%s", child);
      if (lstat(upper, &now) < 0) tell('D', child);
    }
    free(old_names[i]);
  }
  if (old_count > 0) free(old_names);
  for (int i = 0; i < count; i++) free(names[i]);
  if (count > 0) free(names);
}

int changes_job(struct fields fields) {
  (void)fields;
  compare("", true, false);
  if (fflush(stdout) != 0) give_up("stdout");
  return 0;
}
