/*
 *   berth-vmm run SPEC             boots a machine, runs its main process; ends with that one's exit code
 *   berth-vmm keep SPEC            restores a machine and pauses it, for a "run" to adopt it (see keep.c)
 *   berth-vmm machine SPEC         runs a whole-OS machine by QEMU's line in it (see machine.c); ends with the guest's power-off
 *   berth-vmm exec SOCKET SPEC     one more process in a machine, by the socket that its berth-vmm serves
 * SPEC is a file of FIELDS (see protocol.h, and spec.c for run's).
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(int error, const char *format, ...) {
  va_list arguments;
  fputs("berth-vmm: ", stderr);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  if (error != 0) fprintf(stderr, ": %s", strerror(error));
  fputs("\n", stderr);
  exit(125);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "run") == 0) return run_machine(argv[2]);
  if (argc == 3 && strcmp(argv[1], "keep") == 0) return run_keeper(argv[2]);
  if (argc == 3 && strcmp(argv[1], "machine") == 0) return run_whole_machine(argv[2]);
  if (argc == 4 && strcmp(argv[1], "exec") == 0) return run_exec(argv[2], argv[3]);
  die(0, "usage: berth-vmm run SPEC | berth-vmm keep SPEC | berth-vmm machine SPEC | berth-vmm exec SOCKET SPEC");
}
