/* From the initial root to the real one. The kernel's command line says which: root=UUID=…, and init=… where it is not /sbin/init. */
#define _GNU_SOURCE
#include "osinit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 200 /* of 100 ms */

static void load_modules(void) {
  FILE *order = fopen("/modules/order", "re");
  char name[128], path[160];
  while (order != NULL && fgets(name, sizeof name, order) != NULL) {
    name[strcspn(name, "\n")] = 0;
    snprintf(path, sizeof path, "/modules/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || (syscall(SYS_finit_module, file, "", 0) < 0 && errno != EEXIST && errno != ENODEV))
      say("module %s: %s", name, strerror(errno));
    if (file >= 0) close(file);
  }
  if (order != NULL) fclose(order);
}

/* Value of a word of the kernel's command line; "" when there is none. */
static void kernel_word(const char *name, char *value, size_t room) {
  static char line[4096];
  value[0] = 0;
  FILE *file = fopen("/proc/cmdline", "re");
  if (file == NULL) return;
  char *text = fgets(line, sizeof line, file);
  fclose(file);
  size_t length = strlen(name);
  for (char *word = text == NULL ? NULL : strtok(text, " \n"); word != NULL; word = strtok(NULL, " \n")) {
    if (strncmp(word, name, length) == 0) snprintf(value, room, "%s", word + length);
  }
}

/* Whether the ext4 file system on a device has this UUID (Documentation/filesystems/ext4/super.rst). */
static bool has_uuid(const char *device, const char *wanted) {
  uint8_t block[1024];
  int file = open(device, O_RDONLY | O_CLOEXEC);
  bool whole = file >= 0 && pread(file, block, sizeof block, 1024) == (ssize_t)sizeof block;
  if (file >= 0) close(file);
  if (!whole || block[0x38] != 0x53 || block[0x39] != 0xef) return false;
  char text[40], *at = text;
  for (int i = 0; i < 16; i++) at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", block[0x68 + i]);
  return strcasecmp(text, wanted) == 0;
}

static bool find_device(const char *uuid, char *device, size_t room) {
  for (int tries = 0; tries < TRIES; tries++) {
    DIR *devices = opendir("/sys/class/block");
    bool found = false;
    for (struct dirent *entry; !found && devices != NULL && (entry = readdir(devices)) != NULL;) {
      if (entry->d_name[0] == '.') continue;
      snprintf(device, room, "/dev/%.80s", entry->d_name);
      found = has_uuid(device, uuid);
    }
    if (devices != NULL) closedir(devices);
    if (found) return true;
    usleep(100000);
  }
  return false;
}

void boot_root(void) {
  char uuid[64], init[256], device[128];
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mkdir("/dev", 0755);
  mkdir("/root", 0755);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  int console = open("/dev/console", O_RDWR);
  for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
  if (console > 2) close(console);
  load_modules();
  kernel_word("root=UUID=", uuid, sizeof uuid);
  kernel_word("init=", init, sizeof init);
  if (!find_device(uuid, device, sizeof device)) {
    say("there is no disk with the root file system %s", uuid);
    return;
  }
  if (mount(device, "/root", "ext4", MS_RDONLY, NULL) < 0) {
    say("%s: %s", device, strerror(errno));
    return;
  }
  if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) < 0) say("/dev: %s", strerror(errno));
  umount("/proc");
  umount("/sys");
  const char *path = init[0] == 0 ? "/sbin/init" : init;
  if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
    say("moving to the root file system: %s", strerror(errno));
    return;
  }
  char *const arguments[] = {(char *)path, NULL};
  char *const environment[] = {"HOME=/", "TERM=linux", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  execve(path, arguments, environment);
  say("%s: %s", path, strerror(errno));
}
