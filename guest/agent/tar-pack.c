/* A tree as a tar stream on stdout, in a child. What ustar can't say goes into pax records. */
#define _GNU_SOURCE
#include "agent.h"
#include "tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Files with more than one name: the first is packed, the others link to it. */
struct seen {
  struct seen *next;
  dev_t device;
  ino_t inode;
  char name[];
};

static struct seen *seen;

_Noreturn static void give_up(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void put(const void *data, size_t length) {
  if (fwrite(data, 1, length, stdout) != length) give_up("stdout");
}

static void pad(unsigned long long length) {
  static const char zeros[TAR_BLOCK];
  put(zeros, (size_t)(-length & (TAR_BLOCK - 1)));
}

static void octal(char *field, size_t room, unsigned long long value) {
  unsigned long long most = (1ull << 3 * (room - 1)) - 1;
  snprintf(field, room, "%0*llo", (int)room - 1, value > most ? most : value);
}

/* "<length> name=value\n", where the length counts itself. */
static void record(struct bytes *records, const char *name, const void *value, size_t length) {
  size_t rest = strlen(name) + length + 3, total = rest + 1;
  char digits[24];
  while ((size_t)snprintf(digits, sizeof digits, "%zu", total) + rest != total) total = (size_t)snprintf(digits, sizeof digits, "%zu", total) + rest;
  bytes_append(records, digits, strlen(digits));
  bytes_append(records, " ", 1);
  bytes_append(records, name, strlen(name));
  bytes_append(records, "=", 1);
  bytes_append(records, value, length);
  bytes_append(records, "\n", 1);
}

static void record_number(struct bytes *records, const char *name, unsigned long long value, unsigned long long most) {
  char text[24];
  if (value > most) record(records, name, text, (size_t)snprintf(text, sizeof text, "%llu", value));
}

/* Marks of the overlay are this snapshot's own, and labels of a security module mean nothing elsewhere. */
static bool is_packed(const char *name) {
  if (strncmp(name, "security.", 9) == 0) return strcmp(name, "security.capability") == 0;
  return strncmp(name, "trusted.overlay.", 16) != 0;
}

static void record_time(struct bytes *records, const struct timespec *time) {
  char text[48];
  if (time->tv_nsec == 0 && time->tv_sec >= 0) return;
  /* Before 1970 the fraction counts downwards. */
  long long seconds = time->tv_sec;
  long fraction = time->tv_nsec;
  if (seconds < 0 && fraction > 0) seconds++, fraction = 1000000000 - fraction;
  const char *sign = time->tv_sec < 0 && seconds == 0 ? "-" : "";
  int length = fraction == 0 ? snprintf(text, sizeof text, "%lld", seconds) : snprintf(text, sizeof text, "%s%lld.%09ld", sign, seconds, fraction);
  record(records, "mtime", text, (size_t)length);
}

static void record_xattrs(struct bytes *records, const char *path) {
  static char names[65536], value[65536];
  char key[300];
  ssize_t length = llistxattr(path, names, sizeof names);
  for (char *name = names; length > 0 && name < names + length; name += strlen(name) + 1) {
    ssize_t size = is_packed(name) ? lgetxattr(path, name, value, sizeof value) : -1;
    if (size < 0) continue;
    snprintf(key, sizeof key, "SCHILY.xattr.%.255s", name);
    record(records, key, value, (size_t)size);
  }
}

static void write_header(struct tar_header *header) {
  memcpy(header->magic, "ustar", 6);
  memcpy(header->version, "00", 2);
  snprintf(header->checksum, sizeof header->checksum, "%06o", tar_checksum(header));
  header->checksum[7] = ' ';
  put(header, sizeof *header);
}

static void write_entry(const char *path, const char *name, const struct stat *file, char type, const char *link, unsigned long long size) {
  struct tar_header header = {.type = type};
  struct bytes records = {0};
  if (strlen(name) > sizeof header.name) record(&records, "path", name, strlen(name));
  if (strlen(link) > sizeof header.link) record(&records, "linkpath", link, strlen(link));
  record_number(&records, "size", size, 077777777777ull);
  record_number(&records, "uid", file->st_uid, 07777777);
  record_number(&records, "gid", file->st_gid, 07777777);
  record_time(&records, &file->st_mtim);
  if (type != '1' && type != '2') record_xattrs(&records, path);
  if (records.length > 0) {
    struct tar_header pax = {.type = 'x'};
    snprintf(pax.name, sizeof pax.name, "PaxHeaders/entry");
    octal(pax.mode, sizeof pax.mode, 0644);
    octal(pax.size, sizeof pax.size, records.length);
    octal(pax.mtime, sizeof pax.mtime, 0);
    write_header(&pax);
    put(bytes_front(&records), records.length);
    pad(records.length);
    bytes_free(&records);
  }
  memcpy(header.name, name, strnlen(name, sizeof header.name));
  memcpy(header.link, link, strnlen(link, sizeof header.link));
  octal(header.mode, sizeof header.mode, file->st_mode & 07777);
  octal(header.uid, sizeof header.uid, file->st_uid);
  octal(header.gid, sizeof header.gid, file->st_gid);
  octal(header.size, sizeof header.size, size);
  octal(header.mtime, sizeof header.mtime, file->st_mtime < 0 ? 0 : (unsigned long long)file->st_mtime);
  if (type == '3' || type == '4') {
    octal(header.major, sizeof header.major, major(file->st_rdev));
    octal(header.minor, sizeof header.minor, minor(file->st_rdev));
  }
  write_header(&header);
}

/* As many bytes as the header says, whatever becomes of the file meanwhile. One that has gone, or is no file any more, is left out. */
static void pack_file(const char *path, const char *name, const struct stat *file) {
  static char buffer[65536];
  int content = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (content < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO)) return;
  if (content < 0) give_up(path);
  unsigned long long size = (unsigned long long)file->st_size;
  write_entry(path, name, file, '0', "", size);
  for (unsigned long long left = size; left > 0;) {
    size_t want = left < sizeof buffer ? (size_t)left : sizeof buffer;
    ssize_t got = read(content, buffer, want);
    if (got < 0) give_up(path);
    if (got == 0) memset(buffer, 0, (size_t)(got = (ssize_t)want));
    put(buffer, (size_t)got);
    left -= (unsigned long long)got;
  }
  close(content);
  pad(size);
}

static const char *name_before(const char *name, const struct stat *file) {
  for (const struct seen *s = seen; s != NULL; s = s->next) {
    if (s->device == file->st_dev && s->inode == file->st_ino) return s->name;
  }
  struct seen *first = malloc(sizeof *first + strlen(name) + 1);
  if (first == NULL) abort();
  first->next = seen;
  first->device = file->st_dev;
  first->inode = file->st_ino;
  strcpy(first->name, name);
  seen = first;
  return NULL;
}

static void pack(const char *path, const char *prefix, const char *base);

/* An upper directory as an OCI layer (image-spec layer.md): the overlay's marks become names. */
static bool as_layer;

static void pack_mark(const char *prefix, const char *mark, const char *base, const struct stat *like) {
  struct stat file = {.st_mode = S_IFREG | 0600, .st_mtim = like->st_mtim};
  char *name;
  if (asprintf(&name, "%s%s%s", prefix, mark, base) < 0) abort();
  write_entry("", name, &file, '0', "", 0);
  free(name);
}

/* In order, so that equal trees are equal archives. `prefix` is empty or ends in a slash. */
static void pack_children(const char *path, const char *prefix) {
  struct dirent **names;
  int count = scandir(path, &names, NULL, alphasort);
  if (count < 0 && errno != ENOENT && errno != ENOTDIR) give_up(path);
  for (int i = 0; i < count; i++) {
    const char *base = names[i]->d_name;
    char *child;
    if (asprintf(&child, "%s/%s", path, base) < 0) abort();
    if (strcmp(base, ".") != 0 && strcmp(base, "..") != 0) pack(child, prefix, base);
    free(child);
    free(names[i]);
  }
  if (count >= 0) free(names);
}

static void pack_directory(const char *path, const char *name, const struct stat *file, bool whole) {
  size_t length = strlen(name);
  char *own;
  while (length > 0 && name[length - 1] == '/') length--;
  if (asprintf(&own, "%.*s/", (int)length, name) < 0) abort();
  write_entry(path, own, file, '5', "", 0);
  if (as_layer && is_opaque(path)) pack_mark(own, ".wh..wh..opq", "", file);
  if (whole) pack_children(path, own);
  free(own);
}

static void pack_other(const char *path, const char *name, const struct stat *file) {
  const char *first = file->st_nlink > 1 ? name_before(name, file) : NULL;
  if (first != NULL) return write_entry(path, name, file, '1', first, 0);
  if (S_ISREG(file->st_mode)) return pack_file(path, name, file);
  if (S_ISLNK(file->st_mode)) {
    char target[4097] = "";
    if (readlink(path, target, sizeof target - 1) >= 0) write_entry(path, name, file, '2', target, 0);
    return;
  }
  write_entry(path, name, file, S_ISCHR(file->st_mode) ? '3' : S_ISBLK(file->st_mode) ? '4' : '6', "", 0);
}

/* leave=, empty= of the request. */
static struct fields choice;

static bool is_chosen(const char *field_name, const char *name) {
  if (strncmp(name, "./", 2) == 0) name += 2;
  for (const char *pattern = NULL; (pattern = field_next(choice, field_name, pattern)) != NULL;) {
    if (fnmatch(pattern, name, FNM_PATHNAME) == 0) return true;
  }
  return false;
}

static void pack(const char *path, const char *prefix, const char *base) {
  struct stat file;
  char *name;
  if (lstat(path, &file) < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return; /* It went while the tree was read. */
    give_up(path);
  }
  if (S_ISSOCK(file.st_mode)) return; /* tar has none. */
  if (as_layer && is_whiteout(&file)) return pack_mark(prefix, ".wh.", base, &file);
  if (asprintf(&name, "%s%s", prefix, base) < 0) abort();
  if (is_chosen("leave", name)) file.st_mode = 0;
  bool empty = is_chosen("empty", name);
  if (S_ISDIR(file.st_mode)) pack_directory(path, name, &file, !empty);
  else if (empty && S_ISREG(file.st_mode)) write_entry(path, name, &file, '0', "", 0);
  else if (file.st_mode != 0) pack_other(path, name, &file);
  free(name);
}

static int finish(void) {
  static const char zeros[2 * TAR_BLOCK];
  put(zeros, sizeof zeros);
  if (fflush(stdout) != 0) give_up("stdout");
  return 0;
}

int pack_job(struct fields fields) {
  const char *path = field(fields, "path"), *name = field(fields, "name");
  struct stat there;
  char *resolved = NULL;
  if (field_flag(fields, "followlink") && (resolved = realpath(path, NULL)) != NULL) path = resolved;
  if (lstat(path, &there) < 0) give_up(path);
  const char *slash = strrchr(path, '/');
  choice = fields;
  pack(path, "", name != NULL ? name : slash != NULL && slash[1] != 0 ? slash + 1 : ".");
  free(resolved);
  return finish();
}

int layer_job(struct fields fields) {
  (void)fields;
  as_layer = true;
  pack_children(".", "");
  return finish();
}
