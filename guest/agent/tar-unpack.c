/* A tar stream on stdin into a directory, in a child that is in the workload's root. Reads ustar, pax and GNU's long names. */
#define _GNU_SOURCE
#include "agent.h"
#include "tar.h"
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What pax and GNU headers say of the entry after them. */
struct extra {
  char *path, *link;
  long long size, uid, gid; /* -1: not said */
  struct timespec time;     /* tv_nsec -1: not said */
  struct bytes xattrs;      /* name NUL u32 length, value; repeated */
};

#define LONGEST_EXTRA (1u << 20)

_Noreturn static void give_up(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why != NULL ? why : strerror(errno));
  exit(1);
}

static bool read_whole(void *into, size_t length) {
  size_t got = fread(into, 1, length, stdin);
  if (got != length && got > 0) give_up("the archive", "it is cut off");
  return got == length;
}

/* Octal, or GNU's big-endian binary with the first bit set. */
static long long number(const char *field, size_t room) {
  if (field[0] & 0x80) {
    unsigned long long value = (unsigned char)field[0] & 0x7f;
    for (size_t i = 1; i < room; i++) value = value << 8 | (unsigned char)field[i];
    return (long long)value;
  }
  char text[16] = "";
  memcpy(text, field, room < sizeof text ? room : sizeof text - 1);
  return strtoll(text, NULL, 8);
}

static char *read_text(long long size) {
  if (size < 0 || size > LONGEST_EXTRA) give_up("the archive", "it has a header that is too long");
  size_t padded = ((size_t)size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
  char *text = calloc(1, padded + 1);
  if (text == NULL || (padded > 0 && !read_whole(text, padded))) give_up("the archive", "it is cut off");
  text[size] = 0;
  return text;
}

/* Decimal seconds, to any number of digits. Before 1970 the fraction counts downwards. */
static struct timespec time_of(const char *text) {
  char *rest, digits[10] = "000000000";
  struct timespec time = {.tv_sec = strtoll(text, &rest, 10)};
  if (*rest == '.') {
    size_t length = strspn(rest + 1, "0123456789");
    memcpy(digits, rest + 1, length < 9 ? length : 9);
    time.tv_nsec = atol(digits);
  }
  if (text[0] == '-' && time.tv_nsec > 0) time.tv_sec--, time.tv_nsec = 1000000000 - time.tv_nsec;
  return time;
}

static void take_record(struct extra *extra, const char *key, const char *value, size_t length) {
  if (strcmp(key, "path") == 0) extra->path = strndup(value, length);
  else if (strcmp(key, "linkpath") == 0) extra->link = strndup(value, length);
  else if (strcmp(key, "size") == 0) extra->size = strtoll(value, NULL, 10);
  else if (strcmp(key, "uid") == 0) extra->uid = strtoll(value, NULL, 10);
  else if (strcmp(key, "gid") == 0) extra->gid = strtoll(value, NULL, 10);
  else if (strcmp(key, "mtime") == 0) extra->time = time_of(value);
  else if (strncmp(key, "SCHILY.xattr.", 13) == 0) {
    uint8_t size[4];
    put_u32(size, (uint32_t)length);
    bytes_append(&extra->xattrs, key + 13, strlen(key + 13) + 1);
    bytes_append(&extra->xattrs, size, sizeof size);
    bytes_append(&extra->xattrs, value, length);
  }
}

static void read_pax(struct extra *extra, long long size) {
  char *text = read_text(size), *end = text + size;
  for (char *at = text; at < end;) {
    char *rest;
    unsigned long length = strtoul(at, &rest, 10);
    char *equals = memchr(rest, '=', (size_t)(end - rest));
    if (length == 0 || at + length > end || equals == NULL || equals >= at + length) give_up("the archive", "it has a broken pax header");
    *equals = 0;
    at[length - 1] = 0;
    take_record(extra, rest + 1, equals + 1, (size_t)(at + length - 1 - (equals + 1)));
    at += length;
  }
  free(text);
}

static bool climbs(const char *path) {
  for (const char *at = path; *at;) {
    size_t length = strcspn(at, "/");
    if (length == 2 && at[0] == '.' && at[1] == '.') return true;
    at += length + (at[length] == '/');
  }
  return false;
}

static void make_parents(char *path) {
  for (char *slash = path; (slash = strchr(slash + 1, '/')) != NULL;) {
    *slash = 0;
    if (mkdir(path, 0755) < 0 && errno != EEXIST) give_up(path, NULL);
    *slash = '/';
  }
}

/* Of all files, unless they keep their own; and whether directories and other files may take each other's place. */
static bool keep_owner, has_owner, replace;
static struct user owner;

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *at) {
  (void)file, (void)type, (void)at;
  return remove(path);
}

static void make_way(const char *path, bool directory) {
  struct stat there;
  if (lstat(path, &there) < 0) return;
  bool is_directory = S_ISDIR(there.st_mode);
  if (replace && directory != is_directory) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0) give_up(path, NULL);
    return;
  }
  if (directory && !is_directory) give_up(path, "cannot overwrite non-directory with directory");
  if (!directory && is_directory) give_up(path, "cannot overwrite directory with non-directory");
  if (!directory && unlink(path) < 0) give_up(path, NULL);
}

static void skip(long long size) {
  static char buffer[65536];
  for (long long left = (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK; left > 0;) {
    size_t part = left < (long long)sizeof buffer ? (size_t)left : sizeof buffer;
    if (!read_whole(buffer, part)) give_up("the archive", "it is cut off");
    left -= (long long)part;
  }
}

static void write_content(const char *path, long long size, mode_t mode) {
  static char buffer[65536];
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (file < 0) give_up(path, NULL);
  for (long long left = size; left > 0;) {
    size_t part = left < (long long)sizeof buffer ? (size_t)left : sizeof buffer;
    if (!read_whole(buffer, (part + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK)) give_up("the archive", "it is cut off");
    for (size_t done = 0; done < part;) {
      ssize_t wrote = write(file, buffer + done, part - done);
      if (wrote < 0) give_up(path, NULL);
      done += (size_t)wrote;
    }
    left -= (long long)part;
  }
  close(file);
}

static void set_attributes(const char *path, const struct tar_header *header, const struct extra *extra) {
  mode_t mode = (mode_t)number(header->mode, sizeof header->mode) & 07777;
  long long uid = extra->uid >= 0 ? extra->uid : number(header->uid, sizeof header->uid);
  long long gid = extra->gid >= 0 ? extra->gid : number(header->gid, sizeof header->gid);
  if (has_owner) uid = owner.uid, gid = owner.gid;
  if ((keep_owner || has_owner) && lchown(path, (uid_t)uid, (gid_t)gid) < 0) give_up(path, NULL);
  if (header->type != '2' && chmod(path, mode) < 0) give_up(path, NULL);
  const uint8_t *at = extra->xattrs.data, *end = at + extra->xattrs.length;
  while (at < end) {
    const char *name = (const char *)at;
    const uint8_t *length = at + strlen(name) + 1;
    lsetxattr(path, name, length + 4, get_u32(length), 0); /* What this file system has no place for is left out, as by tar. */
    at = length + 4 + get_u32(length);
  }
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, extra->time};
  if (extra->time.tv_nsec < 0) times[1] = (struct timespec){.tv_sec = number(header->mtime, sizeof header->mtime)};
  utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

static void unpack_entry(char *path, const struct tar_header *header, const struct extra *extra, long long size) {
  char link[4096];
  snprintf(link, sizeof link, "%.*s", (int)sizeof header->link, header->link);
  const char *target = extra->link != NULL ? extra->link : link;
  dev_t device = makedev((unsigned)number(header->major, 8), (unsigned)number(header->minor, 8));
  make_parents(path);
  make_way(path, header->type == '5');
  switch (header->type) {
    case 0:
    case '0':
    case '7':
      write_content(path, size, 0600);
      size = 0;
      break;
    case '1':
      if (climbs(target)) give_up(target, "a link that leaves the directory");
      if (linkat(AT_FDCWD, target[0] == '/' ? target + 1 : target, AT_FDCWD, path, 0) < 0) give_up(path, NULL);
      return;
    case '2':
      if (symlink(target, path) < 0) give_up(path, NULL);
      break;
    case '3':
    case '4':
    case '6':
      if (mknod(path, (header->type == '3' ? S_IFCHR : header->type == '4' ? S_IFBLK : S_IFIFO) | 0600, device) < 0) give_up(path, NULL);
      break;
    case '5':
      if (mkdir(path, 0755) < 0 && errno != EEXIST) give_up(path, NULL);
      break;
    default:
      give_up(path, "an entry of a kind that is not known");
  }
  set_attributes(path, header, extra);
  skip(size);
}

int unpack_job(struct fields fields) {
  struct tar_header header;
  struct extra extra = {.size = -1, .uid = -1, .gid = -1, .time = {.tv_nsec = -1}};
  const char *user = field(fields, "owner");
  char unknown[128];
  keep_owner = field_flag(fields, "keepowner");
  replace = field_flag(fields, "replace");
  has_owner = user != NULL;
  if (has_owner && !find_user(user, "/etc/passwd", "/etc/group", &owner, unknown)) give_up(unknown, "no matching entries in the image's files");
  if (chdir(field(fields, "path")) < 0) give_up(field(fields, "path"), NULL);
  umask(0);
  while (read_whole(&header, sizeof header)) {
    if (header.name[0] == 0 && header.checksum[0] == 0) break;
    if (number(header.checksum, sizeof header.checksum) != tar_checksum(&header)) give_up("the archive", "a header's checksum is wrong");
    long long size = extra.size >= 0 ? extra.size : number(header.size, sizeof header.size);
    if (size < 0) give_up("the archive", "an entry's size is negative");
    if (header.type == 'x') read_pax(&extra, size);
    else if (header.type == 'g') skip(size);
    else if (header.type == 'L') extra.path = read_text(size);
    else if (header.type == 'K') extra.link = read_text(size);
    else {
      char path[4096];
      bool prefixed = memcmp(header.magic, "ustar", 6) == 0 && header.prefix[0] != 0;
      if (extra.path != NULL) snprintf(path, sizeof path, "./%s", extra.path);
      else snprintf(path, sizeof path, "./%.*s%s%.*s", prefixed ? 155 : 0, header.prefix, prefixed ? "/" : "", 100, header.name);
      if (climbs(path)) give_up(path, "a name that leaves the directory");
      for (size_t end = strlen(path); end > 2 && path[end - 1] == '/'; end--) path[end - 1] = 0;
      bool itself = strcmp(path, "./.") == 0 || strcmp(path, "./") == 0;
      if (itself) skip(size);
      else unpack_entry(path, &header, &extra, size);
      free(extra.path);
      free(extra.link);
      bytes_free(&extra.xattrs);
      extra = (struct extra){.size = -1, .uid = -1, .gid = -1, .time = {.tv_nsec = -1}};
    }
  }
  while (getchar() != EOF) {} /* The sender may still be writing padding. */
  return 0;
}
