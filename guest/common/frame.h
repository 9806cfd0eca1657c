/* Frames of protocol.h, in and out of byte queues. */
#ifndef BERTH_FRAME_H
#define BERTH_FRAME_H

#include "../protocol.h"
#include "bytes.h"
#include "fields.h"

struct frame {
  uint32_t channel;
  uint8_t type, stream;
  uint32_t length;
  /* In the queue that it was read from: good until that is touched. */
  const uint8_t *payload;
};

enum frame_state { FRAME_NONE, FRAME_WHOLE, FRAME_BROKEN };

/* Looks at the first frame of `in`; WHOLE fills `frame`, which the caller consumes with frame_done. */
enum frame_state frame_peek(const struct bytes *in, struct frame *frame);
void frame_done(struct bytes *in, const struct frame *frame);

void frame_put(struct bytes *out, uint32_t channel, uint8_t type, uint8_t stream, const void *payload, size_t length);
void frame_put_u32(struct bytes *out, uint32_t channel, uint8_t type, uint8_t stream, uint32_t value);
/* With the fields, which it empties. */
void frame_put_fields(struct bytes *out, uint32_t channel, uint8_t type, struct bytes *fields);
static inline struct fields frame_fields(const struct frame *frame) {
  return (struct fields){(const char *)frame->payload, frame->length};
}

#endif
