#include "frame.h"

enum frame_state frame_peek(const struct bytes *in, struct frame *frame) {
  if (in->length < FRAME_HEADER) return FRAME_NONE;
  const uint8_t *header = bytes_front(in);
  uint32_t length = get_u32(header);
  if (length > FRAME_MAX) return FRAME_BROKEN;
  if (in->length < FRAME_HEADER + length) return FRAME_NONE;
  *frame = (struct frame){
      .channel = get_u32(header + 4), .type = header[8], .stream = header[9], .length = length, .payload = header + FRAME_HEADER};
  return FRAME_WHOLE;
}

void frame_done(struct bytes *in, const struct frame *frame) { bytes_consume(in, FRAME_HEADER + frame->length); }

void frame_put(struct bytes *out, uint32_t channel, uint8_t type, uint8_t stream, const void *payload, size_t length) {
  uint8_t header[FRAME_HEADER] = {0};
  put_u32(header, (uint32_t)length);
  put_u32(header + 4, channel);
  header[8] = type;
  header[9] = stream;
  bytes_append(out, header, sizeof header);
  bytes_append(out, payload, length);
}

void frame_put_u32(struct bytes *out, uint32_t channel, uint8_t type, uint8_t stream, uint32_t value) {
  uint8_t payload[4];
  put_u32(payload, value);
  frame_put(out, channel, type, stream, payload, sizeof payload);
}

void frame_put_fields(struct bytes *out, uint32_t channel, uint8_t type, struct bytes *fields) {
  frame_put(out, channel, type, 0, fields->length > 0 ? bytes_front(fields) : 0, fields->length);
  bytes_free(fields);
}
