/* FIELDS of protocol.h: `name=value` strings, each ended by a NUL byte. */
#ifndef BERTH_FIELDS_H
#define BERTH_FIELDS_H

#include "bytes.h"

#include <stdbool.h>

struct fields {
  const char *data;
  size_t length;
};

/* False when the last string has no end, or one has no "=". Only checked ones may be asked. */
bool fields_check(struct fields fields);
/* Value of the first field of that name; NULL when there is none. */
const char *field(struct fields fields, const char *name);
/* Value of the next field of that name after `previous` (a value; NULL begins); NULL at the end. */
const char *field_next(struct fields fields, const char *name, const char *previous);
bool field_flag(struct fields fields, const char *name);
/* A decimal number; `otherwise` when there is no such field. */
long long field_number(struct fields fields, const char *name, long long otherwise);
size_t field_count(struct fields fields, const char *name);

__attribute__((format(printf, 3, 4))) void fields_add(struct bytes *out, const char *name, const char *format, ...);

#endif
