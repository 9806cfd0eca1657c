/* The initrd has the kernel's modules in /modules, and lists of their names there, each after those that it needs. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void load_modules(const char *list) {
  FILE *order = fopen(list, "re");
  if (order == NULL) return; /* A kernel that has all built in. */
  char name[128], path[160];
  while (fgets(name, sizeof name, order) != NULL) {
    name[strcspn(name, "\n")] = 0;
    snprintf(path, sizeof path, "/modules/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || (syscall(SYS_finit_module, file, "", 0) < 0 && errno != EEXIST))
      fprintf(stderr, "berth: module %s: %s\n", name, strerror(errno));
    if (file >= 0) close(file);
  }
  fclose(order);
}
