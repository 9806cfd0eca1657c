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

/* In their order: what is mounted below another mount comes after it. */
static bool set_mounts(struct fields fields, struct failure *failure) {
  const struct {
    const char *name;
    bool (*set)(const char *, struct failure *);
  } each[] = {{"share=", mount_share}, {"tmpfs=", mount_tmpfs}};
  for (const char *at = fields.data; at < fields.data + fields.length; at += strlen(at) + 1) {
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
      if (strncmp(at, each[i].name, 6) != 0) continue;
      spoil_waiting_main();
      if (!each[i].set(at + 6, failure)) return false;
    }
  }
  return true;
}

static bool set_all(struct fields fields, const char *name, bool (*set)(const char *, struct failure *), struct failure *failure) {
  for (const char *value = NULL; (value = field_next(fields, name, value)) != NULL;) {
    if (!set(value, failure)) return false;
  }
  return true;
}

bool configure(struct fields fields, struct failure *failure) {
  const char *hostname = field(fields, "hostname"), *domain = field(fields, "domainname");
  if (hostname != NULL && sethostname(hostname, strlen(hostname)) < 0) return fail(failure, "system", errno, "the host name");
  if (domain != NULL && setdomainname(domain, strlen(domain)) < 0) return fail(failure, "system", errno, "the domain name");
  return configure_network(fields, failure) && set_all(fields, "resolver", serve_names, failure) && set_all(fields, "time", set_time, failure) &&
         set_all(fields, "entropy", add_entropy, failure) && set_mounts(fields, failure) &&
         set_all(fields, "file", write_file, failure) && set_all(fields, "sysctl", set_sysctl, failure);
}
