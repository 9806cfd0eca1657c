/*
 * The name server of a guest on several networks, at 127.0.0.11 as a container's: each network's own server knows its names only, and a
 * program takes the first "no such name" for the last word. Every question goes to all of them; the first that has something answers.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVERS 8
#define QUESTIONS 32
#define MESSAGE 4096
#define HEADER 12
/* For the slowest server; a program asks again after some five seconds. */
#define WAIT_MS 4000

enum rank { NOTHING, FAILURE, NO_NAME, NO_DATA, ANSWER };

struct question {
  struct sockaddr_in from;
  int fds[SERVERS]; /* -1: it has answered, or was not asked */
  size_t left;      /* 0: free */
  long long until;
  enum rank rank;
  size_t length;
  uint8_t best[MESSAGE];
};

static struct sockaddr_in servers[SERVERS];
static size_t server_count;
static struct question questions[QUESTIONS];
static pid_t resolver;

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

/* By the header alone: that an answer is one, how it went, and whether anything is in it (RFC 1035, 4.1.1). */
static enum rank rank_of(const uint8_t *message) {
  if (!(message[2] & 0x80)) return NOTHING;
  int code = message[3] & 0x0f;
  if (code == 3) return NO_NAME;
  if (code != 0) return FAILURE;
  return message[6] || message[7] ? ANSWER : NO_DATA;
}

static void answer(int port, struct question *question) {
  if (question->rank != NOTHING)
    sendto(port, question->best, question->length, 0, (struct sockaddr *)&question->from, sizeof question->from);
  for (size_t i = 0; i < SERVERS; i++) {
    if (question->fds[i] >= 0) close(question->fds[i]);
  }
  question->left = 0;
}

/* One that is free, or the one that has waited longest, which is given up. */
static struct question *free_question(int port) {
  struct question *oldest = questions;
  for (struct question *each = questions; each < questions + QUESTIONS; each++) {
    if (each->left == 0) return each;
    if (each->until < oldest->until) oldest = each;
  }
  answer(port, oldest);
  return oldest;
}

/* Each server from a port of its own, which only it can answer: with the asker's number, that is what tells an answer from a guess. */
static void ask(int port) {
  uint8_t message[MESSAGE];
  struct sockaddr_in from;
  socklen_t size = sizeof from;
  ssize_t length = recvfrom(port, message, sizeof message, 0, (struct sockaddr *)&from, &size);
  if (length < HEADER || message[2] & 0x80) return;
  struct question *question = free_question(port);
  question->from = from;
  question->until = now_ms() + WAIT_MS;
  question->rank = NOTHING;
  memcpy(question->best, message, 2);
  for (size_t i = 0; i < SERVERS; i++) {
    int fd = question->fds[i] = i < server_count ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd < 0) continue;
    if (connect(fd, (struct sockaddr *)&servers[i], sizeof servers[i]) == 0 && send(fd, message, (size_t)length, 0) == length) question->left++;
    else {
      close(fd);
      question->fds[i] = -1;
    }
  }
}

static void hear(int port, struct question *question, size_t server) {
  uint8_t message[MESSAGE];
  ssize_t length = recv(question->fds[server], message, sizeof message, 0);
  if (length >= HEADER && memcmp(message, question->best, 2) != 0) return;
  close(question->fds[server]);
  question->fds[server] = -1;
  question->left--;
  enum rank rank = length >= HEADER ? rank_of(message) : NOTHING;
  if (rank > question->rank) {
    question->rank = rank;
    question->length = (size_t)length;
    memcpy(question->best, message, (size_t)length);
  }
  if (question->rank == ANSWER || question->left == 0) answer(port, question);
}

static void serve(int port) {
  static struct pollfd fds[1 + QUESTIONS * SERVERS];
  static struct {
    struct question *question;
    size_t server;
  } whose[1 + QUESTIONS * SERVERS];
  for (;;) {
    size_t count = 1;
    int timeout = -1;
    long long now = now_ms();
    fds[0] = (struct pollfd){.fd = port, .events = POLLIN};
    for (struct question *each = questions; each < questions + QUESTIONS; each++) {
      if (each->left == 0) continue;
      if (each->until <= now) {
        answer(port, each);
        continue;
      }
      if (timeout < 0 || each->until - now < timeout) timeout = (int)(each->until - now);
      for (size_t i = 0; i < SERVERS; i++) {
        if (each->fds[i] < 0) continue;
        whose[count].question = each;
        whose[count].server = i;
        fds[count++] = (struct pollfd){.fd = each->fds[i], .events = POLLIN};
      }
    }
    if (poll(fds, count, timeout) < 0 && errno != EINTR) _exit(1);
    for (size_t i = 1; i < count; i++) {
      /* Another server's answer may have ended the question meanwhile. */
      if (fds[i].revents && whose[i].question->left > 0 && whose[i].question->fds[whose[i].server] == fds[i].fd)
        hear(port, whose[i].question, whose[i].server);
    }
    if (fds[0].revents & POLLIN) ask(port);
  }
}

/* `value`: IPv4 addresses with blanks between them. Takes the place of what served before. */
bool serve_names(const char *value, struct failure *failure) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(53)};
  char address[INET_ADDRSTRLEN];
  int length;
  if (resolver > 0) kill(resolver, SIGKILL);
  resolver = 0;
  server_count = 0;
  for (const char *at = value; server_count < SERVERS && sscanf(at, " %15s%n", address, &length) == 1; at += length) {
    servers[server_count] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(53)};
    if (inet_pton(AF_INET, address, &servers[server_count++].sin_addr) != 1) return fail(failure, "invalid", 0, "resolver=%.80s", value);
  }
  if (server_count == 0) return true;
  inet_pton(AF_INET, "127.0.0.11", &own.sin_addr);
  int port = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), yes = 1;
  /* The one before may not have ended yet. */
  setsockopt(port, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (port < 0 || bind(port, (struct sockaddr *)&own, sizeof own) < 0) {
    int error = errno;
    if (port >= 0) close(port);
    return fail(failure, "system", error, "the name server at 127.0.0.11");
  }
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_NAME, "berth-names");
    for (int fd = 3; fd < 1024; fd++) {
      if (fd != port) close(fd);
    }
    serve(port);
  }
  close(port);
  if (pid < 0) return fail(failure, "system", errno, "a process for the name server");
  resolver = pid;
  return true;
}
