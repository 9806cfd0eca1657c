#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) die(0, "%s is too long for a socket", path);
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die(errno, "%s", path);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static bool write_some(int fd, struct bytes *link) {
  while (link->length > 0) {
    ssize_t sent = write(fd, bytes_front(link), link->length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    bytes_consume(link, (size_t)sent);
  }
  return true;
}

static bool read_some(int fd, struct bytes *in, struct bytes *link, struct relay *relay) {
  static uint8_t buffer[FRAME_MAX];
  struct frame frame;
  ssize_t got = read(fd, buffer, sizeof buffer);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  bytes_append(in, buffer, (size_t)got);
  while (frame_peek(in, &frame) == FRAME_WHOLE) {
    if (frame.channel == relay->channel) relay_frame(relay, link, &frame);
    frame_done(in, &frame);
  }
  return true;
}

int run_exec(const char *socket_path, const char *spec_path) {
  struct fields spec = read_spec(spec_path);
  struct bytes request = request_of(spec, "run.", "exec"), in = {0}, link = {0};
  struct relay relay;
  int signals = relay_signals(), fd = connect_to(socket_path);
  relay_begin(&relay, 1, (struct fields){(char *)bytes_front(&request), request.length});
  frame_put_fields(&link, 1, FRAME_OPEN, &request);
  relay_resize(&relay, &link);
  while (!relay.over || !relay_is_drained(&relay)) {
    struct pollfd fds[8] = {{.fd = signals, .events = POLLIN},
                            {.fd = fd, .events = (short)((relay.over ? 0 : POLLIN) | (link.length > 0 ? POLLOUT : 0))}};
    size_t count = 2 + relay_poll(&relay, fds + 2, link.length < FRAME_WINDOW);
    if (poll(fds, count, -1) < 0 && errno != EINTR) die(errno, "poll");
    if (fds[0].revents) relay_signal(&relay, &link, signals);
    if (fds[1].revents & (POLLIN | POLLHUP) && !relay.over && !read_some(fd, &in, &link, &relay)) die(0, "the machine has ended");
    relay_polled(&relay, &link, fds + 2, count - 2);
    if (!relay.over && !write_some(fd, &link)) die(errno, "the machine has ended");
  }
  return relay.exit_code;
}
