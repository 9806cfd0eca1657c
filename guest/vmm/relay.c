/*
 * Our own stdin, stdout and stderr are those of a process in the guest. With a terminal ours is made raw: the guest's does the editing.
 * Descriptors are opened anew through /proc, so that not blocking is our setting and not that of whoever shares them.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define INTERRUPT_KEY 3 /* Ctrl-C */

static struct termios before;

static void restore_terminal(void) { tcsetattr(0, TCSANOW, &before); }

int relay_signals(void) {
  static const int ours[] = {SIGCHLD, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTTIN, SIGTTOU, SIGPIPE};
  sigset_t passed;
  sigfillset(&passed);
  for (size_t i = 1; i < sizeof ours / sizeof *ours; i++) sigdelset(&passed, ours[i]);
  sigprocmask(SIG_SETMASK, &passed, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);
  return signalfd(-1, &passed, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int reopen(int fd, int flags) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int own = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (own >= 0) return own;
  own = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* A socket. */
  if (own >= 0) fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK);
  return own;
}

void relay_begin(struct relay *relay, uint32_t channel, struct fields process) {
  *relay = (struct relay){.channel = channel,
                          .tty = field_flag(process, "tty"),
                          .wants_stdin = field_flag(process, "stdin"),
                          .exit_code = 125,
                          .fds = {-1, reopen(1, O_WRONLY), reopen(2, O_WRONLY)},
                          .may_send = FRAME_WINDOW};
  if (relay->wants_stdin || relay->tty) relay->fds[0] = reopen(0, O_RDONLY);
  if (!relay->tty || tcgetattr(0, &before) < 0) return;
  struct termios raw = before;
  cfmakeraw(&raw);
  tcsetattr(0, TCSANOW, &raw);
  atexit(restore_terminal);
}

size_t relay_poll(struct relay *relay, struct pollfd *fds, bool may_send) {
  size_t count = 0;
  if (may_send && relay->fds[0] >= 0 && relay->may_send > 0 && !relay->over) fds[count++] = (struct pollfd){.fd = relay->fds[0], .events = POLLIN};
  for (int i = 1; i < 3; i++) {
    if (relay->output[i].length > 0) fds[count++] = (struct pollfd){.fd = relay->fds[i], .events = POLLOUT};
  }
  return count;
}

static void end_input(struct relay *relay, struct bytes *link) {
  close(relay->fds[0]);
  relay->fds[0] = -1;
  if (!relay->input_ended) frame_put(link, relay->channel, FRAME_END, 0, NULL, 0);
  relay->input_ended = true;
}

static void read_input(struct relay *relay, struct bytes *link) {
  static uint8_t buffer[FRAME_MAX];
  ssize_t got = read(relay->fds[0], buffer, relay->may_send < sizeof buffer ? relay->may_send : sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return end_input(relay, link);
  if (relay->tty && !relay->started && memchr(buffer, INTERRUPT_KEY, (size_t)got) != NULL) relay->interrupted = SIGINT;
  relay->may_send -= (uint32_t)got;
  frame_put(link, relay->channel, FRAME_DATA, 0, buffer, (size_t)got);
}

static void write_output(struct relay *relay, struct bytes *link, int stream) {
  struct bytes *output = &relay->output[stream];
  uint32_t consumed = 0;
  while (output->length > 0) {
    ssize_t sent = relay->fds[stream] < 0 ? (ssize_t)output->length : write(relay->fds[stream], bytes_front(output), output->length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) {
      close(relay->fds[stream]); /* Nobody reads it any more: what comes is dropped, and stops nothing. */
      relay->fds[stream] = -1;
      continue;
    }
    consumed += (uint32_t)sent;
    bytes_consume(output, (size_t)sent);
  }
  if (consumed > 0 && !relay->output_ended[stream]) frame_put_u32(link, relay->channel, FRAME_CREDIT, (uint8_t)stream, consumed);
}

void relay_polled(struct relay *relay, struct bytes *link, const struct pollfd *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (fds[i].revents == 0) continue;
    if (fds[i].fd == relay->fds[0]) read_input(relay, link);
    for (int stream = 1; stream < 3; stream++) {
      if (fds[i].fd == relay->fds[stream] && fds[i].fd >= 0) write_output(relay, link, stream);
    }
  }
}

void relay_frame(struct relay *relay, struct bytes *link, const struct frame *frame) {
  struct fields fields = frame_fields(frame);
  int stream = frame->stream == 2 ? 2 : 1;
  switch (frame->type) {
    case FRAME_STARTED:
      relay->started = true;
      break;
    case FRAME_DATA:
      bytes_append(&relay->output[stream], frame->payload, frame->length);
      write_output(relay, link, stream);
      break;
    case FRAME_END:
      relay->output_ended[stream] = true;
      break;
    case FRAME_CREDIT:
      if (frame->length == 4) relay->may_send += get_u32(frame->payload);
      break;
    case FRAME_EXIT:
      if (fields_check(fields)) relay->exit_code = (int)field_number(fields, "code", 125);
      break;
    case FRAME_ERROR:
      relay->failed = true;
      if (!fields_check(fields) || field(fields, "kind") == NULL) break;
      relay->exit_code = strcmp(field(fields, "kind"), "not-found") == 0 ? 127 : strcmp(field(fields, "kind"), "not-executable") == 0 ? 126 : 125;
      break;
    case FRAME_CLOSED:
      relay->over = true;
      break;
    default:
      break;
  }
}

void relay_resize(struct relay *relay, struct bytes *link) {
  struct winsize size;
  uint8_t payload[4];
  if (!relay->tty || ioctl(0, TIOCGWINSZ, &size) < 0) return;
  put_u16(payload, size.ws_row);
  put_u16(payload + 2, size.ws_col);
  frame_put(link, relay->channel, FRAME_RESIZE, 0, payload, sizeof payload);
}

void relay_signal(struct relay *relay, struct bytes *link, int signals) {
  struct signalfd_siginfo info;
  while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
    if (info.ssi_signo == SIGCHLD) continue;
    int signal = (int)info.ssi_signo;
    bool ends = signal == SIGINT || signal == SIGTERM || signal == SIGQUIT || signal == SIGHUP;
    if (ends && !relay->started && relay->channel != 0) relay->interrupted = signal;
    else if (signal == SIGWINCH && relay->tty) relay_resize(relay, link);
    else if (relay->channel != 0) frame_put_u32(link, relay->channel, FRAME_SIGNAL, 0, info.ssi_signo);
  }
}

bool relay_is_drained(const struct relay *relay) { return relay->output[1].length == 0 && relay->output[2].length == 0; }
