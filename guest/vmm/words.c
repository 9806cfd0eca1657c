#include "vmm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void words_read(struct words *words) {
  char buffer[2048];
  ssize_t got = read(words->fd, buffer, sizeof buffer);
  if (got <= 0) {
    close(words->fd);
    words->fd = -1;
    return;
  }
  size_t length = (size_t)got, room = sizeof words->text;
  if (words->length + length > room) {
    size_t gone = words->length + length - room;
    memmove(words->text, words->text + gone, words->length - gone);
    words->length -= gone;
  }
  memcpy(words->text + words->length, buffer, length);
  words->length += length;
}

void words_print(const char *whose, const struct words *words) {
  if (words->length == 0) return;
  fprintf(stderr, "berth-vmm: last words of %s:\n%.*s", whose, (int)words->length, words->text);
  if (words->text[words->length - 1] != '\n') fputs("\n", stderr);
}
