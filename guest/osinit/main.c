/*
 * What a machine's disk needs that has no operating system of its own for it, in one static program:
 *   grow-root grow    once at the boot of a system with an init: the root file system gets the whole disk
 */
#define _GNU_SOURCE
#include "osinit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("berth: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "grow") == 0) return grow_root();
  fprintf(stderr, "usage: %s grow\n", argv[0]);
  return 2;
}
