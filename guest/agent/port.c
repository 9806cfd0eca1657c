/* virtio-serial ports are /dev/vport<n>p<m>; sysfs has their names. */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool has_name(const char *device) {
  char path[320], name[64] = "";
  snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", device);
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  bool read = fgets(name, sizeof name, file) != NULL;
  fclose(file);
  name[strcspn(name, "\n")] = 0;
  return read && strcmp(name, AGENT_PORT) == 0;
}

static int find(void) {
  DIR *ports = opendir("/sys/class/virtio-ports");
  if (ports == NULL) return -1;
  int port = -1;
  for (struct dirent *entry; port < 0 && (entry = readdir(ports)) != NULL;) {
    if (entry->d_name[0] == '.' || !has_name(entry->d_name)) continue;
    char path[300];
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    port = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  }
  closedir(ports);
  return port;
}

/* The host names a port by a message of its own, a moment after the driver has found the device. */
int open_port(void) {
  for (int look = 0; look < 5000; look++) {
    int port = find();
    if (port >= 0) return port;
    poll(NULL, 0, 2);
  }
  return -1;
}
