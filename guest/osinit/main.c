/*
 * What a machine's disk needs that has no operating system of its own for it, in one static program:
 *   /init (PID 1)                   of the initial root that Berth makes where an image has no kernel
 *   /usr/lib/berth/init (PID 1)     of an image without an init: runs the image's command
 *   /usr/lib/berth/grow-root grow   once at the boot of a system with an init: the root file system gets the whole disk
 */
#define _GNU_SOURCE
#include "osinit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("berth: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

_Noreturn void switch_off(void) {
  sync();
  reboot(RB_POWER_OFF);
  /* A machine without ACPI. */
  reboot(RB_HALT_SYSTEM);
  for (;;) pause();
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "grow") == 0) return grow_root();
  if (getpid() != 1) {
    fprintf(stderr, "usage: %s grow\n", argv[0]);
    return 2;
  }
  if (strcmp(argv[0], "/init") == 0) {
    boot_root();
    switch_off();
  }
  run_image();
}
