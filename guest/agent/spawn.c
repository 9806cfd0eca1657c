/*
 * Starts a process in the workload's namespaces. What goes wrong in the child before its program runs comes back through a pipe as a
 * struct failure; the pipe's end without one says that the program runs.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int main_namespaces[2] = {-1, -1}; /* pid, mnt */
static int own_pid_namespace = -1;

struct stdio {
  int child[3], parent[3];
  int terminal; /* the slave, or -1 */
};

static void close_all(int *fds, int count) {
  for (int i = 0; i < count; i++) {
    if (fds[i] >= 0) close(fds[i]);
    fds[i] = -1;
  }
}

void keep_namespaces(pid_t pid) {
  char path[64];
  static const char *const names[] = {"pid", "mnt"};
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, names[i]);
    main_namespaces[i] = open(path, O_RDONLY | O_CLOEXEC);
  }
  if (own_pid_namespace < 0) own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
}

void drop_namespaces(void) { close_all(main_namespaces, 2); }

static bool open_terminal(struct fields fields, struct stdio *io, struct failure *failure) {
  int master = open(ROOT "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), unlock = 0;
  if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0) return fail(failure, "system", errno, "opening a terminal");
  struct winsize size = {.ws_row = (unsigned short)field_number(fields, "rows", 0), .ws_col = (unsigned short)field_number(fields, "columns", 0)};
  ioctl(master, TIOCSWINSZ, &size);
  io->terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  io->parent[0] = master;
  io->parent[1] = fcntl(master, F_DUPFD_CLOEXEC, 0);
  return io->terminal >= 0 && io->parent[1] >= 0 ? true : fail(failure, "system", errno, "opening a terminal");
}

static bool open_stdio(struct fields fields, struct stdio *io, struct failure *failure) {
  *io = (struct stdio){{-1, -1, -1}, {-1, -1, -1}, -1};
  if (field_flag(fields, "tty")) return open_terminal(fields, io, failure);
  for (int i = 0; i < 3; i++) {
    int ends[2];
    if (i == 0 && !field_flag(fields, "stdin")) {
      io->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
      continue;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) return fail(failure, "system", errno, "making a pipe");
    io->child[i] = ends[i == 0 ? 0 : 1];
    io->parent[i] = ends[i == 0 ? 1 : 0];
    fcntl(io->parent[i], F_SETFL, O_NONBLOCK);
  }
  return true;
}

/* --- in the child */

static bool take_stdio(const struct stdio *io, struct failure *failure) {
  setsid();
  for (int i = 0; i < 3; i++) {
    if (dup2(io->terminal >= 0 ? io->terminal : io->child[i], i) < 0) return fail(failure, "system", errno, "its streams");
  }
  if (io->terminal >= 0 && ioctl(0, TIOCSCTTY, 0) < 0) return fail(failure, "system", errno, "its terminal");
  return true;
}

static bool enter(const struct spawn_request *request, struct failure *failure) {
  if (request->job == NULL) join_workload_group();
  if (request->main) return enter_root_as_main(request->fields, failure);
  if (request->root != NULL)
    return chdir(request->root) == 0 && chroot(".") == 0 ? true : fail(failure, "system", errno, "entering %s", request->root);
  if (main_namespaces[1] >= 0) {
    if (setns(main_namespaces[1], CLONE_NEWNS) < 0) return fail(failure, "system", errno, "entering the mounts");
    return true;
  }
  return chroot(ROOT) == 0 && chdir("/") == 0 ? true : fail(failure, "system", errno, "entering the root file system");
}

/* Returns when it can't be run. */
static void run_process(const struct spawn_request *request, struct failure *failure) {
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (request->job != NULL) {
    /* No program is executed, so nothing closes them: our own end of its stdin above all, which would never be over. */
    syscall(SYS_close_range, 3, ~0u, 0);
    signal(SIGPIPE, SIG_IGN);
    _exit(request->job(request->fields));
  }
  run_program(request, failure);
}

_Noreturn static void child(const struct spawn_request *request, const struct stdio *io, int status) {
  struct failure failure = {0};
  if (take_stdio(io, &failure) && enter(request, &failure)) run_process(request, &failure);
  ssize_t told = write(status, &failure, sizeof failure);
  _exit(told < 0 ? 126 : 127);
}

/* --- a main process in waiting */

/*
 * Most of a start is the main process's namespaces, mounts and streams, which a template can have before it is saved: a child that has all
 * that, and waits for its program.
 */
static struct {
  pid_t pid; /* 0: there is none */
  int road;  /* a socket: it gets the fields of `run` */
  int status, ends[3];
  struct bytes walls;
} waiting;

/* What of a request the child in waiting has already. */
static struct bytes walls_of(struct fields fields) {
  static const char *const names[] = {"privileged", "readonly", "masked"};
  struct bytes walls = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    for (const char *value = NULL; (value = field_next(fields, names[i], value)) != NULL;) fields_add(&walls, names[i], "%s", value);
  }
  return walls;
}

static bool read_whole(int fd, void *into, size_t length) {
  for (size_t at = 0; at < length;) {
    ssize_t got = read(fd, (char *)into + at, length - at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += (size_t)got;
  }
  return true;
}

static bool write_whole(int fd, const void *from, size_t length) {
  for (size_t at = 0; at < length;) {
    ssize_t sent = send(fd, (const char *)from + at, length - at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += (size_t)sent;
  }
  return true;
}

/* What nearly every program begins with, into the page cache: a shell, the dynamic linkers and C libraries. */
static void read_ahead(void) {
  static const char *const paths[] = {"/bin/sh",
                                      "/lib64/ld-linux-x86-64.so.2",
                                      "/lib/x86_64-linux-gnu/libc.so.6",
                                      "/lib/ld-linux-aarch64.so.1",
                                      "/lib/aarch64-linux-gnu/libc.so.6",
                                      "/lib64/libc.so.6",
                                      "/lib/ld-musl-x86_64.so.1",
                                      "/lib/ld-musl-aarch64.so.1",
                                      "/etc/passwd",
                                      "/etc/group",
                                      "/etc/ld.so.cache"};
  static char buffer[65536];
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    int file = open(paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    for (int pieces = 0; file >= 0 && pieces < 64 && read(file, buffer, sizeof buffer) > 0; pieces++) {}
    if (file >= 0) close(file);
  }
}

_Noreturn static void wait_for_program(struct fields walls, const struct stdio *io, int status, int road) {
  struct spawn_request request = {.fields = walls, .main = true};
  struct failure failure = {0};
  uint32_t length;
  char *text;
  bool ready = take_stdio(io, &failure) && enter(&request, &failure);
  if (ready) read_ahead();
  if (ready && write_whole(road, "", 1)) {
    /* Its end, too, is the agent's to say. */
    if (!read_whole(road, &length, sizeof length) || (text = malloc(length)) == NULL || !read_whole(road, text, length)) _exit(0);
    request.fields = (struct fields){text, length};
    int null = field_flag(request.fields, "stdin") ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) dup2(null, 0);
    run_process(&request, &failure);
  }
  ssize_t told = write(status, &failure, sizeof failure);
  _exit(told < 0 ? 126 : 127);
}

static void leave_waiting(void) {
  if (waiting.pid > 0) kill(waiting.pid, SIGKILL);
  waiting.pid = 0;
  close_all(waiting.ends, 3);
  close_all(&waiting.road, 1);
  close_all(&waiting.status, 1);
  bytes_free(&waiting.walls);
}

bool prepare_main(struct fields fields, struct failure *failure) {
  struct stdio io;
  int status[2], road[2];
  char ready;
  struct bytes walls = walls_of(fields), all = {0};
  if (waiting.pid > 0) return fail(failure, "invalid", EBUSY, "a main process waits already");
  bytes_append(&all, bytes_front(&walls), walls.length);
  fields_add(&all, "stdin", "1");
  struct fields asked = {(char *)bytes_front(&all), all.length};
  if (!open_stdio(asked, &io, failure)) return false;
  if (pipe2(status, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, road) < 0) return fail(failure, "system", errno, "making a pipe");
  pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) {
    close(road[0]);
    wait_for_program(asked, &io, status[1], road[1]);
  }
  close_all(io.child, 3);
  close(status[1]);
  close(road[1]);
  fcntl(status[0], F_SETFL, O_NONBLOCK);
  waiting.pid = pid;
  waiting.road = road[0];
  waiting.status = status[0];
  waiting.walls = walls;
  memcpy(waiting.ends, io.parent, sizeof waiting.ends);
  bytes_free(&all);
  if (pid > 0 && read_whole(road[0], &ready, 1)) return true;
  if (pid > 0 && read(status[0], failure, sizeof *failure) != (ssize_t)sizeof *failure) fail(failure, "system", errno, "preparing a process");
  leave_waiting();
  return failure->kind != NULL ? false : fail(failure, "system", errno, "preparing a process");
}

/* What is mounted now is not in its namespace. */
void spoil_waiting_main(void) { leave_waiting(); }

static bool use_waiting(const struct spawn_request *request, struct spawned *spawned) {
  if (waiting.pid == 0) return false;
  struct bytes walls = walls_of(request->fields);
  uint32_t length = (uint32_t)request->fields.length;
  bool fits = !field_flag(request->fields, "tty") && walls.length == waiting.walls.length &&
              memcmp(bytes_front(&walls), bytes_front(&waiting.walls), walls.length) == 0;
  bytes_free(&walls);
  if (!fits || !write_whole(waiting.road, &length, sizeof length) || !write_whole(waiting.road, request->fields.data, length)) {
    leave_waiting();
    return false;
  }
  if (!field_flag(request->fields, "stdin")) close_all(waiting.ends, 1);
  *spawned = (struct spawned){.pid = waiting.pid, .status = waiting.status, .in = waiting.ends[0], .out = waiting.ends[1], .err = waiting.ends[2]};
  close_all(&waiting.road, 1);
  bytes_free(&waiting.walls);
  waiting.pid = 0;
  return true;
}

/* --- in the agent */

static pid_t make_child(const struct spawn_request *request) {
  if (request->main) return (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
  if (main_namespaces[0] < 0) return fork();
  /* What is forked now is in the main process's pid namespace, and still our child. */
  if (setns(main_namespaces[0], CLONE_NEWPID) < 0) return -1;
  pid_t pid = fork();
  int error = errno;
  if (pid != 0) setns(own_pid_namespace, CLONE_NEWPID);
  errno = error;
  return pid;
}

bool spawn(const struct spawn_request *request, struct spawned *spawned, struct failure *failure) {
  struct stdio io;
  int status[2] = {-1, -1};
  if (request->main && use_waiting(request, spawned)) return true;
  if (!open_stdio(request->fields, &io, failure) || pipe2(status, O_CLOEXEC) < 0) {
    close_all(io.child, 3);
    close_all(io.parent, 3);
    return failure->kind != NULL ? false : fail(failure, "system", errno, "making a pipe");
  }
  pid_t pid = make_child(request);
  int error = errno;
  if (pid == 0) child(request, &io, status[1]);
  close_all(io.child, 3);
  close_all(&io.terminal, 1);
  close(status[1]);
  if (pid < 0) {
    close_all(io.parent, 3);
    close(status[0]);
    return fail(failure, error == ENOMEM ? "not-running" : "system", error, "starting a process");
  }
  fcntl(status[0], F_SETFL, O_NONBLOCK);
  *spawned = (struct spawned){.pid = pid, .status = status[0], .in = io.parent[0], .out = io.parent[1], .err = io.parent[2]};
  return true;
}
