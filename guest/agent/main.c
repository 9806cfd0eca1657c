/*
 * PID 1: mounts what a kernel needs, loads the modules, opens the port, and serves it.
 *   init                    in a guest
 *   init --socket FD        in a pid and mount namespace, for tests: no modules, no devices, the "port" is a socket
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Output beyond this waits in the processes' pipes. */
#define LINK_BACKLOG (512u * 1024u)
#define POLL_ROOM 1024

static bool in_guest = true;
static char life[17];

bool fail(struct failure *failure, const char *kind, int error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  failure->kind = kind;
  failure->error = error;
  vsnprintf(failure->message, sizeof failure->message, format, arguments);
  va_end(arguments);
  return false;
}

static void early_mounts(void) {
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mkdir("/dev", 0755);
  mkdir("/run", 0755);
  mkdir(ROOT, 0755);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  make_workload_group();
  int console = open("/dev/console", O_RDWR | O_CLOEXEC);
  for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
}

static void say_hello(struct bytes *link) {
  struct utsname names;
  uname(&names);
  struct bytes reply = {0};
  fields_add(&reply, "version", "%d", PROTOCOL_VERSION);
  fields_add(&reply, "kernel", "%s", names.release);
  fields_add(&reply, "boot", "%s", life);
  fields_add(&reply, "root", "%d", root_is_mounted());
  frame_put_fields(link, 0, FRAME_HELLO, &reply);
}

static void dispatch(struct bytes *link, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_HELLO:
      say_hello(link);
      break;
    case FRAME_OPEN:
      open_channel(link, frame);
      break;
    default:
      session_frame(link, frame); /* False: it crossed with the channel's end. */
  }
}

/* Reads what is there. False: the other side is gone, or talks nonsense. */
static bool read_link(int port, struct bytes *in, struct bytes *link) {
  static uint8_t buffer[FRAME_MAX];
  ssize_t got = read(port, buffer, sizeof buffer);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  bytes_append(in, buffer, (size_t)got);
  struct frame frame;
  enum frame_state state;
  while ((state = frame_peek(in, &frame)) == FRAME_WHOLE) {
    dispatch(link, &frame);
    frame_done(in, &frame);
  }
  return state == FRAME_NONE;
}

static bool write_link(int port, struct bytes *link) {
  while (link->length > 0) {
    ssize_t sent = write(port, bytes_front(link), link->length < 32768 ? link->length : 32768);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    bytes_consume(link, (size_t)sent);
  }
  return true;
}

static void reap(struct bytes *link) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) session_reaped(link, pid, status);
}

static void serve(int port, int signals) {
  static struct pollfd fds[POLL_ROOM];
  struct bytes in = {0}, link = {0};
  for (;;) {
    fds[0] = (struct pollfd){.fd = port, .events = (short)(POLLIN | (link.length > 0 ? POLLOUT : 0))};
    fds[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    size_t count = 2 + sessions_poll(fds + 2, POLL_ROOM - 2, link.length < LINK_BACKLOG);
    if (poll(fds, count, -1) < 0 && errno != EINTR) break;
    if (fds[1].revents & POLLIN) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) > 0) {}
    }
    sessions_polled(&link, fds + 2, count - 2);
    reap(&link);
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR) && !read_link(port, &in, &link)) {
      if (!in_guest) return;
      /* The host's side of the port is closed (a machine that is being saved or moved): wait until it is there again. */
      bytes_free(&in);
      poll(NULL, 0, 20);
    }
    if (link.length > 0 && !write_link(port, &link) && !in_guest) return;
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--rehearse") == 0) return rehearse();
  uint64_t random = 0;
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random = (uint64_t)getpid();
  snprintf(life, sizeof life, "%016llx", (unsigned long long)random);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  int port;
  if (argc == 3 && strcmp(argv[1], "--socket") == 0) {
    in_guest = false;
    port = atoi(argv[2]);
    fcntl(port, F_SETFD, FD_CLOEXEC);
    fcntl(port, F_SETFL, O_NONBLOCK);
    mkdir(ROOT, 0755);
    if (mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0) return 1;
  } else {
    early_mounts();
    set_spare_cards_aside();
    load_modules("/modules/order");
    port = open_port();
  }
  if (port < 0) {
    fprintf(stderr, "berth: there is no port %s in this machine\n", AGENT_PORT);
    power_off();
  }
  serve(port, signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (in_guest) power_off();
  return 1;
}
