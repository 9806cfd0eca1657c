#define _GNU_SOURCE
#include "fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fields_check(struct fields fields) {
  const char *end = fields.data + fields.length;
  for (const char *at = fields.data; at < end;) {
    const char *stop = memchr(at, 0, (size_t)(end - at));
    if (stop == NULL || memchr(at, '=', (size_t)(stop - at)) == NULL) return false;
    at = stop + 1;
  }
  return true;
}

const char *field_next(struct fields fields, const char *name, const char *previous) {
  size_t name_length = strlen(name);
  const char *end = fields.data + fields.length;
  const char *at = previous == NULL ? fields.data : previous + strlen(previous) + 1;
  for (; at < end; at += strlen(at) + 1) {
    if (strncmp(at, name, name_length) == 0 && at[name_length] == '=') return at + name_length + 1;
  }
  return NULL;
}

const char *field(struct fields fields, const char *name) { return field_next(fields, name, NULL); }

bool field_flag(struct fields fields, const char *name) {
  const char *value = field(fields, name);
  return value != NULL && strcmp(value, "1") == 0;
}

long long field_number(struct fields fields, const char *name, long long otherwise) {
  const char *value = field(fields, name);
  return value == NULL ? otherwise : strtoll(value, NULL, 10);
}

size_t field_count(struct fields fields, const char *name) {
  size_t count = 0;
  for (const char *v = NULL; (v = field_next(fields, name, v)) != NULL;) count++;
  return count;
}

void fields_add(struct bytes *out, const char *name, const char *format, ...) {
  char *value = NULL;
  va_list arguments;
  va_start(arguments, format);
  int length = vasprintf(&value, format, arguments);
  va_end(arguments);
  if (length < 0) abort();
  bytes_append(out, name, strlen(name));
  bytes_append(out, "=", 1);
  bytes_append(out, value, (size_t)length + 1);
  free(value);
}
