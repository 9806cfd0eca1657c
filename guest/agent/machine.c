/* What the machine uses, what runs in it, and its end. */
#define _GNU_SOURCE
#include "agent.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static void describe_cpu(struct bytes *reply) {
  FILE *file = fopen("/proc/stat", "re");
  unsigned long long user, nice, system, idle, wait, irq, soft;
  if (file != NULL && fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft) == 7)
    fields_add(reply, "cpu_us", "%llu", (user + nice + system + irq + soft) * 1000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
  if (file != NULL) fclose(file);
}

static void describe_memory(struct bytes *reply) {
  FILE *file = fopen("/proc/meminfo", "re");
  char name[64];
  unsigned long long kib;
  while (file != NULL && fscanf(file, "%63[^:]: %llu%*[^\n]\n", name, &kib) == 2) {
    if (strcmp(name, "MemTotal") == 0) fields_add(reply, "memory_total", "%llu", kib * 1024);
    if (strcmp(name, "MemAvailable") == 0) fields_add(reply, "memory_available", "%llu", kib * 1024);
  }
  if (file != NULL) fclose(file);
}

static void describe_workload(struct bytes *reply) {
  long long used = memory_of_workload();
  if (used >= 0) fields_add(reply, "memory_used", "%lld", used);
}

static void describe_disks(struct bytes *reply) {
  FILE *file = fopen("/proc/diskstats", "re");
  char line[512], name[64];
  unsigned long long sectors_read, sectors_written, read_bytes = 0, write_bytes = 0;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%*u %*u %63s %*u %*u %llu %*u %*u %*u %llu", name, &sectors_read, &sectors_written) != 3) continue;
    if (strncmp(name, "vd", 2) != 0) continue;
    read_bytes += sectors_read * 512;
    write_bytes += sectors_written * 512;
  }
  if (file != NULL) fclose(file);
  fields_add(reply, "read_bytes", "%llu", read_bytes);
  fields_add(reply, "write_bytes", "%llu", write_bytes);
}

static void describe_network(struct bytes *reply) {
  FILE *file = fopen("/proc/net/dev", "re");
  char line[512], name[32];
  unsigned long long rx, rx_packets, tx, tx_packets;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, " %31[^:]: %llu %llu %*u %*u %*u %*u %*u %*u %llu %llu", name, &rx, &rx_packets, &tx, &tx_packets) != 5) continue;
    if (strcmp(name, "lo") != 0) fields_add(reply, "net", "%s %llu %llu %llu %llu", name, rx, rx_packets, tx, tx_packets);
  }
  if (file != NULL) fclose(file);
}

/* Calls `each` for every process that is not the kernel's or the agent's own. */
static void each_process(void (*each)(const char *pid, void *context), void *context) {
  DIR *processes = opendir("/proc");
  for (struct dirent *entry; processes != NULL && (entry = readdir(processes)) != NULL;) {
    if (!isdigit((unsigned char)entry->d_name[0]) || strcmp(entry->d_name, "1") == 0) continue;
    each(entry->d_name, context);
  }
  if (processes != NULL) closedir(processes);
}

static size_t read_small(const char *pid, const char *name, char *into, size_t room) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? 0 : read(file, into, room - 1);
  if (file >= 0) close(file);
  into[length > 0 ? length : 0] = 0;
  return length > 0 ? (size_t)length : 0;
}

/* The kernel's own threads have no memory. */
static bool is_kernel_thread(const char *pid) {
  char statm[128];
  return read_small(pid, "statm", statm, sizeof statm) == 0 || strncmp(statm, "0 ", 2) == 0;
}

static void count_process(const char *pid, void *context) {
  if (!is_kernel_thread(pid)) ++*(int *)context;
}

void describe_machine(struct bytes *reply) {
  int count = 0;
  describe_cpu(reply);
  describe_memory(reply);
  describe_workload(reply);
  describe_disks(reply);
  describe_network(reply);
  each_process(count_process, &count);
  fields_add(reply, "pids", "%d", count);
}

/* The last number of NSpid is the one that the process itself sees. */
static int inner_pid(const char *status, const char *pid) {
  const char *line = strstr(status, "\nNSpid:");
  if (line == NULL) return atoi(pid);
  line += 7;
  const char *end = strchr(line, '\n');
  const char *last = line;
  for (const char *at = line; at < end; at++) {
    if (*at == '\t' && at + 1 < end) last = at + 1;
  }
  return atoi(last);
}

static void describe_process(const char *pid, void *context) {
  char status[2048], stat[1024], command[4096];
  if (is_kernel_thread(pid) || read_small(pid, "status", status, sizeof status) == 0 || read_small(pid, "stat", stat, sizeof stat) == 0) return;
  const char *rest = strrchr(stat, ')'), *uid = strstr(status, "\nUid:");
  char state = '?';
  int parent = 0;
  unsigned long long user = 0, system = 0;
  long long rss = 0;
  if (rest == NULL || sscanf(rest + 2, "%c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*u %*u %lld", &state, &parent, &user, &system, &rss) != 5) return;
  size_t length = read_small(pid, "cmdline", command, sizeof command);
  for (size_t i = 0; i + 1 < length; i++) {
    if (command[i] == 0) command[i] = ' ';
  }
  char parent_name[16], parent_status[2048];
  snprintf(parent_name, sizeof parent_name, "%d", parent);
  int ppid = parent > 1 && read_small(parent_name, "status", parent_status, sizeof parent_status) > 0 ? inner_pid(parent_status, parent_name) : 0;
  fields_add(context, "process", "%d %d %d %llu %lld %c\n%s", inner_pid(status, pid), ppid, uid == NULL ? 0 : atoi(uid + 5), user + system,
             rss * (sysconf(_SC_PAGESIZE) / 1024), state, command);
}

void describe_processes(struct bytes *reply) { each_process(describe_process, reply); }

/* With `reboot=t` the kernel triple-faults, and QEMU, started with -no-reboot, ends. No ACPI is needed. */
void power_off(void) {
  sync_root();
  if (getpid() == 1) reboot(RB_AUTOBOOT);
  _exit(0);
}
