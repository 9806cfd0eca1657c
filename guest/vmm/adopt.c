/*
 * A machine that waits restored and paused changes hands: its keeper, a berth-vmm in a jail of its own, stays QEMU's parent, and gives
 * the one of the instance's jail all else. On the socket in adopt=
 *   adopter -> keeper   one byte, with the adopter's network namespace: QEMU's taps are moved there
 *   keeper -> adopter   our ends of agent, console, monitor and QEMU's errors, with a byte
 *   keeper -> adopter   errno's number: 0 when the taps are there. Moving them takes some 15 ms, which the guest need not wait for;
 *                       those to spare come a moment later, as nothing waits for them
 * From then on the connection stands for the adopter's life, and QEMU's:
 *   adopter -> keeper   a signal's number for QEMU, one byte; at the connection's end it is killed
 *   keeper -> adopter   how QEMU has ended, as waitpid(2) says it
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* For the keeper's answer; moving a link takes the kernel some milliseconds, and many times that beside others. */
#define ANSWER_S 30

static int connect_to_keeper(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct timeval patience = {.tv_sec = ANSWER_S};
  if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path) die(0, "%s is too long for a socket", path);
  int keeper = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (keeper < 0) die(errno, "a socket");
  setsockopt(keeper, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(keeper, (struct sockaddr *)&address, sizeof address) == 0) return keeper;
  int error = errno;
  close(keeper);
  errno = error;
  return -1;
}

bool adopt_qemu(const char *path, struct qemu *qemu) {
  int ends[4];
  char word;
  int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), keeper = connect_to_keeper(path);
  bool asked = keeper >= 0 && namespace >= 0 && send_with_fds(keeper, "", 1, &namespace, 1);
  ssize_t got = asked ? receive_with_fds(keeper, &word, 1, ends, 4) : -1;
  int error = got < 0 ? errno : ECONNRESET;
  if (namespace >= 0) close(namespace);
  if (got == 1 && ends[3] >= 0) {
    *qemu = (struct qemu){.life = keeper, .agent = ends[0], .console = ends[1], .qmp = ends[2], .errors = ends[3]};
    return true;
  }
  if (keeper >= 0) close(keeper);
  errno = error;
  return false;
}

bool await_taps(const struct qemu *qemu) {
  int error;
  ssize_t got = recv(qemu->life, &error, sizeof error, 0);
  if (got >= 0) errno = got == (ssize_t)sizeof error ? error : ECONNRESET;
  return got >= 0 && errno == 0;
}

/* What the keeper says; that it has gone is QEMU's end as well. */
static bool hear_end(int life, int *status, int flags) {
  ssize_t got;
  do got = recv(life, status, sizeof *status, flags);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return false;
  if (got != (ssize_t)sizeof *status) *status = SIGKILL;
  return true;
}

bool qemu_has_ended(const struct qemu *qemu, int *status) {
  if (qemu->pid > 0) return waitpid(qemu->pid, status, WNOHANG) == qemu->pid;
  return hear_end(qemu->life, status, MSG_DONTWAIT);
}

void qemu_end(const struct qemu *qemu, int signal) {
  int status;
  if (qemu->pid > 0) {
    kill(qemu->pid, signal);
    waitpid(qemu->pid, NULL, 0);
    return;
  }
  uint8_t word = (uint8_t)signal;
  if (send(qemu->life, &word, 1, MSG_NOSIGNAL) == 1) hear_end(qemu->life, &status, 0);
}
