/*
 * berth-vmm keep: a machine of a template that waits, paused, for an instance to be. SPEC is that of a clone (ram=, restore=) without an
 * instance's words, and
 *   keep=     where its socket is to be (see adopt.c); it is there once the machine waits
 * Ends with QEMU, or with the one that has adopted it.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a guest does after its answers (a timer, a worker of its kernel) is done here, not in each start. */
#define SETTLE_MS 100
/* After an adoption. */
#define SPARE_MS 300

struct keeper {
  struct qemu qemu;
  struct nic nics[CARDS];
  size_t net_count, nic_count; /* the latter with those to spare */
  struct words console, errors;
  int signals, listener, life;
  int namespace; /* the adopter's, until its spare cards are there */
};

_Noreturn static void mourn(struct keeper *keeper, int status) {
  while (keeper->errors.fd >= 0) words_read(&keeper->errors);
  fprintf(stderr, "berth-vmm: QEMU ended, status %d\n", status);
  words_print("QEMU", &keeper->errors);
  words_print("the guest's console", &keeper->console);
  exit(125);
}

static int watch_children(void) {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Waits for what QEMU and its guest say, for as long, or until `fd` has something to read. */
static bool listen_for(struct keeper *keeper, int fd, int limit_ms) {
  struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                         {.fd = keeper->signals, .events = POLLIN},
                         {.fd = guard_fd(), .events = POLLIN},
                         {.fd = keeper->console.fd, .events = POLLIN},
                         {.fd = keeper->errors.fd, .events = POLLIN}};
  int ready, status;
  do {
    ready = poll(fds, sizeof fds / sizeof *fds, limit_ms);
    if (ready < 0 && errno != EINTR) die(errno, "poll");
    if (ready <= 0) continue;
    if (fds[1].revents) {
      struct signalfd_siginfo info;
      while (read(keeper->signals, &info, sizeof info) > 0) {}
      if (qemu_has_ended(&keeper->qemu, &status)) {
        if (keeper->life < 0) mourn(keeper, status);
        send(keeper->life, &status, sizeof status, MSG_NOSIGNAL);
        exit(0);
      }
    }
    if (fds[2].revents & POLLIN) guard_serve();
    else if (fds[2].revents) guard_end();
    fds[2].fd = guard_fd();
    if (fds[3].revents) words_read(&keeper->console);
    if (fds[4].revents) words_read(&keeper->errors);
    fds[3].fd = keeper->console.fd;
    fds[4].fd = keeper->errors.fd;
  } while (fds[0].revents == 0 && (ready != 0 || limit_ms < 0));
  return fds[0].revents != 0;
}

static void ask(struct keeper *keeper, struct bytes *request) {
  static uint8_t buffer[4 * FRAME_MAX];
  struct bytes out = {0}, in = {0};
  struct frame frame;
  bool answered = false;
  frame_put_fields(&out, 1, FRAME_OPEN, request);
  if (write(keeper->qemu.agent, bytes_front(&out), out.length) != (ssize_t)out.length) die(errno, "the agent's port");
  while (!answered) {
    listen_for(keeper, keeper->qemu.agent, -1);
    ssize_t got = read(keeper->qemu.agent, buffer, sizeof buffer);
    if (got <= 0) continue; /* QEMU has ended, which is about to be told. */
    bytes_append(&in, buffer, (size_t)got);
    enum frame_state state;
    while ((state = frame_peek(&in, &frame)) == FRAME_WHOLE) {
      struct fields fields = frame_fields(&frame);
      if (frame.type == FRAME_ERROR) die(0, "the guest: %s", fields_check(fields) ? field(fields, "message") : "an error");
      answered |= frame.type == FRAME_CLOSED;
      frame_done(&in, &frame);
    }
    if (state == FRAME_BROKEN) die(0, "the guest's agent talks nonsense");
  }
  bytes_free(&out);
  bytes_free(&in);
}

/*
 * All that a start has the guest do is done once, for nobody: under emulation the code of agent and kernel is translated by then, which
 * takes several times as long as running it, and in any case is in memory.
 */
static void rehearse(struct keeper *keeper, struct fields spec) {
  struct bytes configure = request_of(spec, "configure.", "configure"), run = request_of(spec, "prepare.", "run"),
               prepare = request_of(spec, "prepare.", "prepare");
  fields_add(&configure, "hostname", "nobody");
  for (size_t i = 0; i < keeper->net_count; i++) fields_add(&configure, "link", "%zu eth%zu %s 1500", i, i, keeper->nics[i].mac);
  fields_add(&configure, "address", "lo 127.0.0.1/8");
  add_identity(&configure);
  fields_add(&run, "rehearsal", "1");
  fields_add(&run, "arg", "berth-rehearsal");
  fields_add(&run, "memory", "0");
  fields_add(&run, "pids", "0");
  ask(keeper, &configure);
  ask(keeper, &run);
  ask(keeper, &prepare);
}

static void offer(struct keeper *keeper, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  /* Under its name only when it takes connections. */
  if (snprintf(address.sun_path, sizeof address.sun_path, "%s.new", path) >= (int)sizeof address.sun_path) die(0, "%s is too long for a socket", path);
  keeper->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (keeper->listener < 0 || bind(keeper->listener, (struct sockaddr *)&address, sizeof address) < 0 || chmod(address.sun_path, 0600) < 0 ||
      listen(keeper->listener, 1) < 0 || rename(address.sun_path, path) < 0)
    die(errno, "%s", path);
}

/* Who asks is the instance's: nobody else can reach the socket. */
static void hand_over(struct keeper *keeper) {
  char word;
  int namespace, error = 0, ends[] = {keeper->qemu.agent, keeper->qemu.console, keeper->qemu.qmp, keeper->qemu.errors};
  listen_for(keeper, keeper->listener, -1);
  int life = accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC);
  if (life < 0) die(errno, "accept");
  close(keeper->listener);
  listen_for(keeper, life, -1);
  if (receive_with_fds(life, &word, 1, &namespace, 1) != 1 || namespace < 0) die(0, "who wants the machine has gone");
  if (!send_with_fds(life, "", 1, ends, 4)) die(errno, "handing the machine over");
  if (!move_taps(0, keeper->net_count, namespace)) error = errno;
  if (send(life, &error, sizeof error, MSG_NOSIGNAL) < 0 || error != 0) die(error, "handing the network over");
  keeper->namespace = namespace;
  for (size_t i = 0; i < 4; i++) close(ends[i]);
  keeper->console.fd = keeper->errors.fd = -1;
  for (size_t i = 0; i < keeper->nic_count; i++) close(keeper->nics[i].tap);
  keeper->life = life;
}

/* They are for later: the kernel moves one link at a time, and the start has its own to see to. */
static void move_spare(struct keeper *keeper) {
  if (!move_taps(keeper->net_count, keeper->nic_count, keeper->namespace)) fprintf(stderr, "berth-vmm: cards to spare stay behind: %s\n", strerror(errno));
  close(keeper->namespace);
  keeper->namespace = -1;
  if (!keep_capabilities(NULL, 0)) die(errno, "giving up capabilities");
}

/* Until its adopter has ended. */
static void serve(struct keeper *keeper) {
  for (uint8_t signal;;) {
    if (!listen_for(keeper, keeper->life, keeper->namespace < 0 ? -1 : SPARE_MS)) move_spare(keeper);
    else if (read(keeper->life, &signal, 1) == 1) kill(keeper->qemu.pid, signal);
    else return;
  }
}

int run_keeper(const char *spec_path) {
  static const unsigned rights[] = {CAP_NET_ADMIN};
  struct fields spec = read_spec(spec_path);
  struct keeper keeper = {.signals = watch_children(), .life = -1, .namespace = -1};
  const char *socket_path = field(spec, "keep"), *state = field(spec, "restore");
  if (socket_path == NULL || state == NULL) die(0, "keep: a machine without keep= and restore=");
  keeper.net_count = field_count(spec, "net");
  keeper.nic_count = make_taps(spec, keeper.nics);
  keeper.qemu = start_qemu(spec, true, keeper.nics, keeper.nic_count, -1);
  keeper.console.fd = keeper.qemu.console;
  keeper.errors.fd = keeper.qemu.errors;
  if (!keep_capabilities(rights, 1)) die(errno, "giving up capabilities");
  if (!qmp_restore(keeper.qemu.qmp, state)) {
    qemu_end(&keeper.qemu, SIGKILL);
    mourn(&keeper, 0);
  }
  rehearse(&keeper, spec);
  listen_for(&keeper, -1, SETTLE_MS);
  if (!qmp_command(keeper.qemu.qmp, "{\"execute\":\"stop\"}\n", -1)) die(0, "QEMU does not pause");
  offer(&keeper, socket_path);
  hand_over(&keeper);
  serve(&keeper);
  qemu_end(&keeper.qemu, SIGKILL);
  return 0;
}
