/* Who this guest is: told after the boot, or after a restore, never by the kernel's command line. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool set_time(const char *text, struct failure *failure) {
  char *rest;
  struct timespec now = {.tv_sec = strtoll(text, &rest, 10)};
  if (*rest == '.') now.tv_nsec = strtol(rest + 1, NULL, 10);
  return clock_settime(CLOCK_REALTIME, &now) == 0 ? true : fail(failure, "system", errno, "setting the clock to %.40s", text);
}

/* Mixes the host's bytes in, counts them as entropy, and reseeds: two clones of one memory must not draw the same numbers. */
static bool add_entropy(const char *hex, struct failure *failure) {
  struct {
    struct rand_pool_info info;
    uint8_t bytes[256];
  } pool = {0};
  uint8_t *into = (uint8_t *)pool.info.buf;
  int count = 0;
  for (unsigned value; count < 256 && sscanf(hex + 2 * count, "%2x", &value) == 1; count++) into[count] = (uint8_t)value;
  pool.info.buf_size = count;
  pool.info.entropy_count = count * 8;
  int device = open("/dev/random", O_RDWR | O_CLOEXEC);
  bool done = device >= 0 && ioctl(device, RNDADDENTROPY, &pool) == 0 && ioctl(device, RNDRESEEDCRNG) == 0;
  int error = errno;
  if (device >= 0) close(device);
  return done ? true : fail(failure, "system", error, "adding entropy");
}

/* Splits "target\nrest"; false when there is no line's end. */
static bool split(const char *value, char path[4096], const char **rest) {
  const char *end = strchr(value, '\n');
  if (end == NULL || end - value > 4000 || value[0] != '/') return false;
  snprintf(path, 4096, "%.*s", (int)(end - value), value);
  *rest = end + 1;
  return true;
}

static void make_parents(char *path) {
  for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = 0;
    mkdir(path, 0755);
    *slash = '/';
  }
}

/* With the workload's root as the agent's own for a moment, so that a link in the image leads nowhere else. */
static bool in_root(bool (*set)(const char *, struct failure *), const char *value, struct failure *failure) {
  int own = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (own < 0 || chroot(ROOT) < 0 || chdir("/") < 0) return fail(failure, "system", errno, "entering the root file system");
  bool done = set(value, failure);
  if (fchdir(own) < 0 || chroot(".") < 0) abort();
  close(own);
  return done;
}

/* A file of ours that covers one of the root: it is none of the workload's changes. */
#define COVERS 16
static char covered[COVERS][256];

static int found; /* By find_file: the file that is to be covered. */

/* As a runtime has it: what is missing is made, also behind a link. */
static bool find_file(const char *value, struct failure *failure) {
  char path[4096], target[4096];
  const char *content;
  if (!split(value, path, &content)) return fail(failure, "invalid", 0, "file=%.60s", value);
  make_parents(path);
  found = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
  ssize_t length = found < 0 && errno == ENOENT ? readlink(path, target + 1, sizeof target - 2) : -1;
  if (length > 0) {
    target[length + 1] = 0;
    /* Relative to the directory of the link, which all of these are in. */
    char *name = target[1] == '/' ? target + 1 : memcpy(target, "/", 1);
    char whole[8192];
    snprintf(whole, sizeof whole, "%.*s%s", target[1] == '/' ? 0 : (int)(strrchr(path, '/') - path), path, name);
    make_parents(whole);
    found = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
  }
  return found >= 0 ? true : fail(failure, "system", errno, "opening %.150s", path);
}

static bool write_cover(const char *path, const char *content, struct failure *failure) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  size_t length = strlen(content);
  bool done = file >= 0 && write(file, content, length) == (ssize_t)length;
  int error = errno;
  if (file >= 0) close(file);
  return done ? true : fail(failure, "system", error, "writing %.150s", path);
}

static bool cover_file(const char *value, struct failure *failure) {
  char path[4096], cover[64], target[64];
  const char *content;
  size_t i = 0;
  if (!split(value, path, &content) || strlen(path) >= sizeof covered[0]) return fail(failure, "invalid", 0, "file=%.60s", value);
  while (i < COVERS && covered[i][0] != 0 && strcmp(covered[i], path) != 0) i++;
  if (i == COVERS) return fail(failure, "invalid", 0, "more than %d files", COVERS);
  snprintf(cover, sizeof cover, "/run/file%zu", i);
  if (!write_cover(cover, content, failure)) return false;
  if (covered[i][0] != 0) return true;
  if (!in_root(find_file, value, failure)) return false;
  snprintf(target, sizeof target, "/proc/self/fd/%d", found);
  int done = mount(cover, target, NULL, MS_BIND, NULL), error = errno;
  close(found);
  if (done < 0) return fail(failure, "system", error, "mounting %.150s", path);
  strcpy(covered[i], path);
  return true;
}

void protect_files(void) {
  for (size_t i = 0; i < COVERS && covered[i][0] != 0; i++) mount(NULL, covered[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
}

static bool set_sysctl(const char *value, struct failure *failure) {
  char path[256] = "/proc/sys/";
  const char *equals = strchr(value, '=');
  if (equals == NULL || equals - value > 200) return fail(failure, "invalid", 0, "sysctl=%.60s", value);
  snprintf(path + 10, sizeof path - 10, "%.*s", (int)(equals - value), value);
  for (char *dot = path + 10; (dot = strchr(dot, '.')) != NULL;) *dot = '/';
  int file = open(path, O_WRONLY | O_CLOEXEC);
  bool done = file >= 0 && write(file, equals + 1, strlen(equals + 1)) >= 0;
  int error = errno;
  if (file >= 0) close(file);
  return done ? true : fail(failure, "system", error, "sysctl %.100s", value);
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

static bool mount_at(const char *type, const char *source, const char *value, struct failure *failure) {
  char path[4096], data[256];
  const char *options;
  if (!split(value, path, &options)) return fail(failure, "invalid", 0, "%s=%.60s", type, value);
  unsigned long flags = parse_options(options, data);
  make_parents(path);
  mkdir(path, 0755);
  return mount(source, path, type, flags, data) == 0 ? true : fail(failure, "system", errno, "mounting %s on %.100s", type, path);
}

static bool mount_share(const char *value, struct failure *failure) {
  char tag[64];
  size_t length = strcspn(value, "\n");
  if (length >= sizeof tag || value[length] == 0) return fail(failure, "invalid", 0, "share=%.60s", value);
  snprintf(tag, sizeof tag, "%.*s", (int)length, value);
  return mount_at("virtiofs", tag, value + length + 1, failure);
}

static bool mount_tmpfs(const char *value, struct failure *failure) { return mount_at("tmpfs", "tmpfs", value, failure); }

bool configure(struct fields fields, struct failure *failure) {
  const struct {
    const char *name;
    bool (*set)(const char *, struct failure *);
    bool in_root;
  } each[] = {{"time", set_time, false},  {"entropy", add_entropy, false}, {"share", mount_share, true},
              {"tmpfs", mount_tmpfs, true}, {"file", cover_file, false},      {"sysctl", set_sysctl, false}};
  const char *hostname = field(fields, "hostname"), *domain = field(fields, "domainname");
  if (hostname != NULL && sethostname(hostname, strlen(hostname)) < 0) return fail(failure, "system", errno, "the host name");
  if (domain != NULL && setdomainname(domain, strlen(domain)) < 0) return fail(failure, "system", errno, "the domain name");
  if (!configure_network(fields, failure)) return false;
  for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
    for (const char *value = NULL; (value = field_next(fields, each[i].name, value)) != NULL;) {
      if (!(each[i].in_root ? in_root(each[i].set, value, failure) : each[i].set(value, failure))) return false;
    }
  }
  return true;
}
