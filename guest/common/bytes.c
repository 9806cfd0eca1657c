#include "bytes.h"

#include <stdlib.h>
#include <string.h>

void bytes_append(struct bytes *queue, const void *data, size_t length) {
  if (length == 0) return;
  if (queue->start + queue->length + length > queue->capacity) {
    if (queue->start > 0) memmove(queue->data, queue->data + queue->start, queue->length);
    queue->start = 0;
    if (queue->length + length > queue->capacity) {
      size_t capacity = queue->capacity ? queue->capacity : 4096;
      while (capacity < queue->length + length) capacity *= 2;
      uint8_t *larger = realloc(queue->data, capacity);
      if (larger == NULL) abort();
      queue->data = larger;
      queue->capacity = capacity;
    }
  }
  memcpy(queue->data + queue->start + queue->length, data, length);
  queue->length += length;
}

void bytes_consume(struct bytes *queue, size_t length) {
  queue->start += length;
  queue->length -= length;
  if (queue->length > 0) return;
  queue->start = 0;
  if (queue->capacity > 1024 * 1024) bytes_free(queue);
}

void bytes_free(struct bytes *queue) {
  free(queue->data);
  *queue = (struct bytes){0};
}
