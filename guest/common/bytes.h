/* A growing queue of bytes, and numbers in the wire's order. */
#ifndef BERTH_BYTES_H
#define BERTH_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
  uint8_t *data;
  size_t start, length, capacity;
};

/* Never fails: out of memory ends the process, which here is the machine or its monitor. */
void bytes_append(struct bytes *queue, const void *data, size_t length);
/* Takes `length` bytes from the front. */
void bytes_consume(struct bytes *queue, size_t length);
void bytes_free(struct bytes *queue);
/* The unread bytes. */
static inline uint8_t *bytes_front(const struct bytes *queue) { return queue->data + queue->start; }

static inline uint32_t get_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint16_t get_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline void put_u32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static inline void put_u16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}

#endif
