/*
 * What is mounted over the workload's root: shares of the host, tmpfs, and the files that the host writes for it. The mounts are made
 * with the root as the agent's own for a moment, so that a link in the image leads nowhere else.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where all shares are, in the agent's own root: one file system, each share a directory or a file of it. */
#define SHARES "/shares"
/* A directory of the agent's, with the files that are mounted over the workload's. */
#define FILES "/run/files"

/* --- the kernel's newer calls for mounts, which the C library does not have */

#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 1
#endif
#define CLONE_TREE 1u       /* OPEN_TREE_CLONE */
#define FROM_EMPTY_PATH 4u  /* MOVE_MOUNT_F_EMPTY_PATH */
#define TO_SYMLINKS 0x10u   /* MOVE_MOUNT_T_SYMLINKS */
#define RECURSIVELY 0x8000u /* AT_RECURSIVE */

struct mount_attributes {
  uint64_t set, clear, propagation, user_namespace;
};

/* A copy of what is mounted at `path`, mounted nowhere yet. */
static int copy_of_mount(const char *path, bool read_only) {
  struct mount_attributes attributes = {.set = MOUNT_ATTR_RDONLY};
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, CLONE_TREE | RECURSIVELY | O_CLOEXEC);
  if (tree < 0 || !read_only) return tree;
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | RECURSIVELY, &attributes, sizeof attributes) == 0) return tree;
  int error = errno;
  close(tree);
  errno = error;
  return -1;
}

static bool move_mount_to(int tree, const char *target) {
  return syscall(SYS_move_mount, tree, "", AT_FDCWD, target, FROM_EMPTY_PATH | TO_SYMLINKS) == 0;
}

/* --- with the workload's root as "/" */

/* The agent's own root; -1 when it could not be left. */
static int enter_workload(void) {
  int own = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (own < 0 || chroot(ROOT) < 0 || chdir("/") < 0) {
    if (own >= 0) close(own);
    return -1;
  }
  return own;
}

static void leave_workload(int own) {
  if (fchdir(own) < 0 || chroot(".") < 0) abort();
  close(own);
}

static void make_parents(const char *path) {
  char part[4096];
  snprintf(part, sizeof part, "%s", path);
  for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = 0;
    mkdir(part, 0755);
    *slash = '/';
  }
}

/* Directories for what a link at `path` leads to: as a runtime has it, /etc/resolv.conf -> ../run/resolv.conf is enough. */
static void make_link_parents(const char *path) {
  char link[2048], whole[4096];
  ssize_t length = readlink(path, link, sizeof link - 1);
  if (length <= 0) return;
  link[length] = 0;
  snprintf(whole, sizeof whole, "%.*s/%s", link[0] == '/' ? 0 : (int)(strrchr(path, '/') - path), path, link);
  make_parents(whole);
}

/* What is there stays, also where the image has it (nothing is opened for writing); a link is followed. */
static void make_target(const char *path, bool directory) {
  make_parents(path);
  if (directory) {
    mkdir(path, 0755);
    return;
  }
  int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  if (file < 0 && errno == ENOENT) {
    make_link_parents(path);
    file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  }
  if (file >= 0) close(file);
}

static bool attach(int tree, const char *target, bool directory, struct failure *failure) {
  int own = enter_workload();
  if (own < 0) return fail(failure, "system", errno, "entering the root file system");
  make_target(target, directory);
  bool done = move_mount_to(tree, target);
  int error = errno;
  leave_workload(own);
  return done ? true : fail(failure, "system", error, "mounting on %.150s", target);
}

/* --- fields */

/* Splits "target\nrest"; false when there is no line's end. */
static bool split(const char *value, char path[4096], const char **rest) {
  const char *end = strchr(value, '\n');
  if (end == NULL || end - value > 4000 || value[0] != '/') return false;
  snprintf(path, 4096, "%.*s", (int)(end - value), value);
  *rest = end + 1;
  return true;
}

static bool has_word(const char *options, const char *word) {
  size_t length = strlen(word);
  for (const char *at = options; *at; at += strcspn(at, ","), at += *at == ',') {
    if (strcspn(at, ",") == length && strncmp(at, word, length) == 0) return true;
  }
  return false;
}

static bool mount_shares(struct failure *failure) {
  static bool mounted;
  if (mounted) return true;
  mkdir(SHARES, 0755);
  mounted = mount("shares", SHARES, "virtiofs", 0, NULL) == 0;
  return mounted ? true : fail(failure, "system", errno, "mounting what the host shares");
}

/* "<name>\n<target>\n<options>" */
bool mount_share(const char *value, struct failure *failure) {
  char path[128], target[4096];
  struct stat found;
  const char *options;
  size_t length = strcspn(value, "\n");
  if (length == 0 || length > 64 || value[length] == 0 || memchr(value, '/', length) != NULL || !split(value + length + 1, target, &options))
    return fail(failure, "invalid", 0, "share=%.60s", value);
  if (!mount_shares(failure)) return false;
  snprintf(path, sizeof path, SHARES "/%.*s", (int)length, value);
  int tree = copy_of_mount(path, has_word(options, "ro"));
  if (tree < 0 || fstatat(tree, "", &found, AT_EMPTY_PATH) < 0) {
    int error = errno;
    if (tree >= 0) close(tree);
    return fail(failure, "system", error, "the share %.*s", (int)length, value);
  }
  bool done = attach(tree, target, S_ISDIR(found.st_mode), failure);
  close(tree);
  return done;
}

static const struct {
  const char *word;
  unsigned long flag;
} words[] = {{"ro", MS_RDONLY},         {"nosuid", MS_NOSUID},   {"nodev", MS_NODEV},           {"noexec", MS_NOEXEC},
             {"noatime", MS_NOATIME},   {"sync", MS_SYNCHRONOUS}, {"nodiratime", MS_NODIRATIME}, {"dirsync", MS_DIRSYNC},
             {"relatime", MS_RELATIME}, {"strictatime", MS_STRICTATIME}};

/* mount(8) words into flags; what has a value is the file system's, other words ("rw", "exec") say what is so anyway. */
static unsigned long parse_options(const char *options, char data[256]) {
  unsigned long flags = 0;
  data[0] = 0;
  for (const char *at = options; *at;) {
    size_t length = strcspn(at, ","), i = 0;
    while (i < sizeof words / sizeof *words && (strlen(words[i].word) != length || strncmp(words[i].word, at, length) != 0)) i++;
    if (i < sizeof words / sizeof *words) flags |= words[i].flag;
    else if (memchr(at, '=', length) != NULL) snprintf(data + strlen(data), 256 - strlen(data), "%s%.*s", data[0] ? "," : "", (int)length, at);
    at += length + (at[length] == ',');
  }
  return flags;
}

/* "<target>\n<options>" */
bool mount_tmpfs(const char *value, struct failure *failure) {
  char target[4096], data[256];
  const char *options;
  if (!split(value, target, &options)) return fail(failure, "invalid", 0, "tmpfs=%.60s", value);
  unsigned long flags = parse_options(options, data);
  int own = enter_workload();
  if (own < 0) return fail(failure, "system", errno, "entering the root file system");
  make_target(target, true);
  bool done = mount("tmpfs", target, "tmpfs", flags, data) == 0;
  int error = errno;
  leave_workload(own);
  return done ? true : fail(failure, "system", error, "mounting tmpfs on %.150s", target);
}

/* --- files of the host's making (/etc/hosts): mounted, as in a container, so that they are written neither to the image nor to a share */

static bool write_whole(const char *path, const char *content) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  size_t length = strlen(content);
  bool done = file >= 0 && write(file, content, length) == (ssize_t)length;
  int error = errno;
  if (file >= 0) close(file);
  errno = error;
  return done;
}

/* "<target>\n<content>". One that is there already gets other content, where it is mounted as well. */
bool write_file(const char *value, struct failure *failure) {
  char target[4096], path[4096 + sizeof FILES];
  const char *content;
  if (!split(value, target, &content)) return fail(failure, "invalid", 0, "file=%.60s", value);
  snprintf(path, sizeof path, FILES "%s", target);
  make_parents(path);
  bool known = access(path, F_OK) == 0;
  if (!write_whole(path, content)) return fail(failure, "system", errno, "writing %.150s", target);
  if (known) return true;
  int tree = copy_of_mount(path, root_is_read_only());
  if (tree < 0) return fail(failure, "system", errno, "mounting %.150s", target);
  bool done = attach(tree, target, false, failure);
  close(tree);
  return done;
}
