/* The control group of the workload: what it sees at /sys/fs/cgroup, and how it is stopped while its files are read. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL "/sys/fs/cgroup"
#define GROUP CONTROL "/workload"
/* Looks at 10 ms each. */
#define PATIENCE 500

static bool made;

static bool write_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
  if (file >= 0) close(file);
  return done;
}

static bool read_text(const char *path, char *into, size_t room) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, into, room - 1);
  if (file >= 0) close(file);
  into[length > 0 ? length : 0] = 0;
  return length > 0;
}

void make_workload_group(void) {
  made = mount("cgroup2", CONTROL, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 && mkdir(GROUP, 0755) == 0 &&
         write_text(CONTROL "/cgroup.subtree_control", "+memory +pids");
  if (!made) fprintf(stderr, "berth: no control group for the workload: %s\n", strerror(errno));
}

/* One that has divided its group takes no processes of its own: those beside it then stay in the agent's. */
void join_workload_group(void) {
  if (made && write_text(GROUP "/cgroup.procs", "0")) unshare(CLONE_NEWCGROUP);
}

void mount_workload_group(bool writable) {
  unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME;
  if (!made || mount("cgroup", ROOT CONTROL, "cgroup2", flags, NULL) < 0 || writable) return;
  mount(NULL, ROOT CONTROL, NULL, flags | MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
}

static bool set_limit(struct fields fields, const char *name, const char *file, struct failure *failure) {
  char path[64];
  const char *value = field(fields, name);
  if (value == NULL) return true;
  snprintf(path, sizeof path, GROUP "/%s", file);
  if (made && write_text(path, strcmp(value, "0") == 0 ? "max" : value)) return true;
  return fail(failure, "system", errno, "limiting %s to %.20s", name, value);
}

bool limit_workload(struct fields fields, struct failure *failure) {
  return set_limit(fields, "memory", "memory.max", failure) && set_limit(fields, "pids", "pids.max", failure);
}

static unsigned long long number_after(const char *text, const char *name) {
  const char *found = strstr(text, name);
  return found == NULL ? 0 : strtoull(found + strlen(name), NULL, 10);
}

long long memory_of_workload(void) {
  char current[64] = "", details[8192] = "";
  if (!made || !read_text(GROUP "/memory.current", current, sizeof current) || !read_text(GROUP "/memory.stat", details, sizeof details))
    return -1;
  unsigned long long used = strtoull(current, NULL, 10), idle = number_after(details, "inactive_file ");
  return used > idle ? (long long)(used - idle) : 0;
}

void freeze_workload(bool freeze) {
  if (made) write_text(GROUP "/cgroup.freeze", freeze ? "1" : "0");
}

void await_frozen_workload(void) {
  for (int look = 0; made && look < PATIENCE; look++, poll(NULL, 0, 10)) {
    char events[256] = "";
    if (!read_text(GROUP "/cgroup.events", events, sizeof events) || strstr(events, "populated 0") != NULL || strstr(events, "frozen 1") != NULL) return;
  }
}

long long oom_kills(void) {
  FILE *file = fopen("/proc/vmstat", "re");
  char name[64];
  long long value, kills = 0;
  while (file != NULL && fscanf(file, "%63s %lld", name, &value) == 2) {
    if (strcmp(name, "oom_kill") == 0) kills = value;
  }
  if (file != NULL) fclose(file);
  return kills;
}
