/* As much QMP as berth-vmm needs. Replies are lines of JSON of QEMU's own making; only their kind matters here. */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* For one answer: a QEMU that starts takes a tenth of a second, and many times that beside others. */
#define ANSWER_MS 60000

/* Waits for input, and answers QEMU's own question meanwhile. */
static bool wait_readable(int qmp) {
  for (;;) {
    struct pollfd fds[2] = {{.fd = qmp, .events = POLLIN}, {.fd = guard_fd(), .events = POLLIN}};
    int count = poll(fds, 2, ANSWER_MS);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    if (fds[1].revents & POLLIN) guard_serve();
    else if (fds[1].revents) guard_end();
    if (fds[0].revents) return true;
  }
}

/* Reads a line; false at the end, or when none comes. */
static bool read_line(int qmp, char *line, size_t room) {
  size_t length = 0;
  for (char c; length + 1 < room && wait_readable(qmp) && read(qmp, &c, 1) == 1;) {
    if (c == '\n') {
      line[length] = 0;
      return true;
    }
    line[length++] = c;
  }
  return false;
}

/* Reads lines until one has `word`; false at an error, or the end. Prints an error. */
static bool await(int qmp, const char *word) {
  char line[4096];
  while (read_line(qmp, line, sizeof line)) {
    if (strstr(line, word) != NULL) return true;
    if (strstr(line, "\"error\"") != NULL) {
      fprintf(stderr, "berth-vmm: QEMU: %s\n", line);
      return false;
    }
  }
  return false;
}

/* Sends a command, with a file descriptor when it is not -1, and waits for its return. */
bool qmp_command(int qmp, const char *text, int fd) {
  struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  }
  return sendmsg(qmp, &message, MSG_NOSIGNAL) >= 0 && await(qmp, "\"return\"");
}

void qmp_send(int qmp, const char *text) { (void)!send(qmp, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT); }

bool qmp_begin(int qmp) { return await(qmp, "\"QMP\"") && qmp_command(qmp, "{\"execute\":\"qmp_capabilities\"}\n", -1); }

static bool begin_migration(int qmp) {
  return qmp_begin(qmp) &&
         qmp_command(qmp,
                 "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[{\"capability\":\"x-ignore-shared\","
                 "\"state\":true},{\"capability\":\"events\",\"state\":true}]}}\n",
                 -1);
}

bool qmp_restore(int qmp, const char *state) {
  int file = open(state, O_RDONLY | O_CLOEXEC);
  bool done = file >= 0 && begin_migration(qmp) && qmp_command(qmp, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"state\"}}\n", file) &&
              qmp_command(qmp, "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:state\"}}\n", -1) && await(qmp, "\"RESUME\"");
  if (file >= 0) close(file);
  return done;
}

bool qmp_save(int qmp, const char *state) {
  int file = open(state, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool done = file >= 0 && begin_migration(qmp) && qmp_command(qmp, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"state\"}}\n", file) &&
              qmp_command(qmp, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:state\"}}\n", -1) && await(qmp, "\"status\": \"completed\"");
  if (file >= 0) close(file);
  return done;
}
