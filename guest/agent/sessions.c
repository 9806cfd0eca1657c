/* Channels with a process: its streams, within their windows, and its end. See protocol.h for the order of frames. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct session {
  struct session *next;
  uint32_t channel;
  pid_t pid; /* 0: reaped */
  bool main, tty, detached, told_exit, failed;
  bool writes;  /* What it has written is to be on the disk when its channel is over. */
  bool freezes; /* The workload is stopped until it has ended. */
  int wait_status;
  int status;     /* see struct spawned; -1 once it has spoken */
  int fds[3];     /* ours of stdin, stdout, stderr; -1 closed */
  uint32_t may_send[3];    /* stdout, stderr: what is left of the window */
  uint32_t may_receive;    /* stdin: likewise, of the client */
  uint32_t owed;           /* stdin: consumed, not given back yet */
  struct bytes input;
  bool input_ended;
};

static struct session *sessions;
static struct session *main_session;
/* Of oom_kills() when the main process began. */
static long long kills_before;

bool main_is_there(void) { return main_session != NULL; }
/* Until its program runs its mounts are only being made: nothing else is to be put beside it. */
bool main_is_running(void) { return main_session != NULL && main_session->pid > 0 && main_session->status < 0 && !main_session->failed; }
pid_t main_pid(void) { return main_is_running() ? main_session->pid : 0; }

static struct session *by_channel(uint32_t channel) {
  for (struct session *s = sessions; s != NULL; s = s->next) {
    if (s->channel == channel) return s;
  }
  return NULL;
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void session_open(struct bytes *link, uint32_t channel, const struct spawn_request *request) {
  struct failure failure = {0};
  struct spawned spawned;
  if (by_channel(channel) != NULL) {
    fail(&failure, "protocol", 0, "channel %u is open already", channel);
    return reply_error(link, channel, &failure);
  }
  if (!spawn(request, &spawned, &failure)) return reply_error(link, channel, &failure);
  if (request->main) kills_before = oom_kills();
  struct session *s = calloc(1, sizeof *s);
  if (s == NULL) abort();
  *s = (struct session){.next = sessions,
                        .channel = channel,
                        .pid = spawned.pid,
                        .main = request->main,
                        .tty = field_flag(request->fields, "tty"),
                        .detached = field_flag(request->fields, "detach"),
                        .writes = request->main || request->job == unpack_job,
                        .freezes = request->job != NULL && field_flag(request->fields, "freeze"),
                        .status = spawned.status,
                        .fds = {spawned.in, spawned.out, spawned.err},
                        .may_send = {0, FRAME_WINDOW, FRAME_WINDOW},
                        .may_receive = FRAME_WINDOW};
  sessions = s;
  if (s->freezes) freeze_workload(true);
  if (s->main) main_session = s;
}

static bool is_frozen_by_any(void) {
  for (struct session *s = sessions; s != NULL; s = s->next) {
    if (s->freezes) return true;
  }
  return false;
}

static void session_free(struct session *s) {
  struct session **at = &sessions;
  while (*at != s) at = &(*at)->next;
  *at = s->next;
  if (s->freezes && !is_frozen_by_any()) freeze_workload(false);
  for (int i = 0; i < 3; i++) close_fd(&s->fds[i]);
  close_fd(&s->status);
  bytes_free(&s->input);
  free(s);
}

static void tell_exit(struct bytes *link, struct session *s) {
  struct bytes fields = {0};
  int status = s->wait_status;
  fields_add(&fields, "code", "%d", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  if (WIFSIGNALED(status)) fields_add(&fields, "signal", "%d", WTERMSIG(status));
  if (s->main && oom_kills() > kills_before) fields_add(&fields, "oom", "1");
  frame_put_fields(link, s->channel, FRAME_EXIT, &fields);
  s->told_exit = true;
}

/* Ends the channel when the process has ended, been told of, and its streams have. */
static void settle(struct bytes *link, struct session *s) {
  if (s->pid > 0 || s->status >= 0) return;
  if (!s->told_exit && !s->failed) tell_exit(link, s);
  if (!s->failed && (s->fds[1] >= 0 || s->fds[2] >= 0)) return;
  if (s->main) {
    drop_namespaces();
    main_session = NULL;
  }
  if (s->writes && !main_is_there()) sync_root();
  frame_put(link, s->channel, FRAME_CLOSED, 0, NULL, 0);
  session_free(s);
}

/* The status pipe's word: the program runs, or why not. */
static void read_status(struct bytes *link, struct session *s) {
  struct failure failure;
  ssize_t got = read(s->status, &failure, sizeof failure);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close_fd(&s->status);
  struct bytes fields = {0};
  if (got == (ssize_t)sizeof failure) {
    s->failed = true;
    fields_add(&fields, "kind", "%s", failure.kind);
    fields_add(&fields, "message", "%s", failure.message);
    if (failure.error != 0) fields_add(&fields, "errno", "%d", failure.error);
    frame_put_fields(link, s->channel, FRAME_ERROR, &fields);
  } else {
    if (s->main) keep_namespaces(s->pid);
    fields_add(&fields, "pid", "%d", (int)s->pid);
    frame_put_fields(link, s->channel, FRAME_STARTED, &fields);
  }
}

void session_reaped(struct bytes *link, pid_t pid, int status) {
  for (struct session *s = sessions; s != NULL; s = s->next) {
    if (s->pid != pid) continue;
    if (s->status >= 0) read_status(link, s);
    s->pid = 0;
    s->wait_status = status;
    close_fd(&s->fds[0]);
    /* A terminal whose other holders live on has no end of its own: what there is now is all. */
    return settle(link, s);
  }
}

/* --- streams */

static void give_back(struct bytes *link, struct session *s, uint32_t consumed) {
  s->owed += consumed;
  if (s->owed < FRAME_WINDOW / 4 && s->input.length > 0) return;
  if (s->owed == 0) return;
  frame_put_u32(link, s->channel, FRAME_CREDIT, 0, s->owed);
  s->may_receive += s->owed;
  s->owed = 0;
}

static void write_input(struct bytes *link, struct session *s) {
  while (s->input.length > 0) {
    ssize_t sent = s->fds[0] < 0 ? (ssize_t)s->input.length : write(s->fds[0], bytes_front(&s->input), s->input.length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
      close_fd(&s->fds[0]); /* It does not read any more; what comes is nobody's. */
      continue;
    }
    bytes_consume(&s->input, (size_t)sent);
    give_back(link, s, (uint32_t)sent);
  }
  if (s->input_ended && !s->tty) close_fd(&s->fds[0]);
}

static void read_output(struct bytes *link, struct session *s, int stream) {
  static uint8_t buffer[FRAME_MAX];
  size_t room = s->may_send[stream] < FRAME_MAX ? s->may_send[stream] : FRAME_MAX;
  ssize_t got = read(s->fds[stream], buffer, room);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    frame_put(link, s->channel, FRAME_DATA, (uint8_t)stream, buffer, (size_t)got);
    s->may_send[stream] -= (uint32_t)got;
    return;
  }
  /* EOF; a terminal says EIO when nobody has it open. */
  close_fd(&s->fds[stream]);
  frame_put(link, s->channel, FRAME_END, (uint8_t)stream, NULL, 0);
}

static void add(struct pollfd *fds, size_t room, size_t *count, int fd, short events) {
  if (fd >= 0 && *count < room) fds[(*count)++] = (struct pollfd){.fd = fd, .events = events};
}

size_t sessions_poll(struct pollfd *fds, size_t room, bool may_send) {
  size_t count = 0;
  for (struct session *s = sessions; s != NULL; s = s->next) {
    add(fds, room, &count, s->status, POLLIN);
    if (s->input.length > 0) add(fds, room, &count, s->fds[0], POLLOUT);
    for (int i = 1; i < 3; i++) {
      if (may_send && s->may_send[i] > 0) add(fds, room, &count, s->fds[i], POLLIN);
    }
  }
  return count;
}

static bool is_ready(const struct pollfd *fds, size_t count, int fd) {
  for (size_t i = 0; fd >= 0 && i < count; i++) {
    if (fds[i].fd == fd && fds[i].revents != 0) return true;
  }
  return false;
}

void sessions_polled(struct bytes *link, const struct pollfd *fds, size_t count) {
  for (struct session *s = sessions, *next; s != NULL; s = next) {
    next = s->next;
    if (is_ready(fds, count, s->status)) read_status(link, s);
    if (s->input.length > 0 && is_ready(fds, count, s->fds[0])) write_input(link, s);
    for (int i = 1; i < 3; i++) {
      if (s->may_send[i] > 0 && is_ready(fds, count, s->fds[i])) read_output(link, s, i);
    }
    settle(link, s);
  }
}

/* --- frames */

static void break_off(struct bytes *link, struct session *s, const char *why) {
  struct failure failure = {0};
  fail(&failure, "protocol", 0, "%s", why);
  struct bytes fields = {0};
  fields_add(&fields, "kind", "%s", failure.kind);
  fields_add(&fields, "message", "%s", failure.message);
  frame_put_fields(link, s->channel, FRAME_ERROR, &fields);
  s->failed = true;
  if (s->pid > 0) kill(s->pid, SIGKILL);
}

static void take_input(struct bytes *link, struct session *s, const struct frame *frame) {
  if (frame->length > s->may_receive) return break_off(link, s, "more input than the window had");
  s->may_receive -= frame->length;
  bytes_append(&s->input, frame->payload, frame->length);
  write_input(link, s);
}

bool session_frame(struct bytes *link, const struct frame *frame) {
  struct session *s = by_channel(frame->channel);
  if (s == NULL) return false;
  switch (frame->type) {
    case FRAME_DATA:
      if (!s->failed && !s->input_ended) take_input(link, s, frame);
      break;
    case FRAME_END:
      s->input_ended = true;
      write_input(link, s);
      break;
    case FRAME_CREDIT:
      if (frame->length == 4 && (frame->stream == 1 || frame->stream == 2)) s->may_send[frame->stream] += get_u32(frame->payload);
      break;
    case FRAME_SIGNAL:
      if (frame->length == 4 && s->pid > 0) kill(s->pid, (int)get_u32(frame->payload));
      break;
    case FRAME_RESIZE:
      if (frame->length == 4 && s->tty && s->fds[1] >= 0) {
        struct winsize size = {.ws_row = get_u16(frame->payload), .ws_col = get_u16(frame->payload + 2)};
        ioctl(s->fds[1], TIOCSWINSZ, &size);
      }
      break;
    case FRAME_CANCEL:
      if (s->main) break;
      if (!s->detached && s->pid > 0) kill(s->pid, SIGKILL);
      /* Nobody reads: what it still says goes nowhere, and stops nothing. */
      s->may_send[1] = s->may_send[2] = UINT32_MAX / 2;
      break;
    default:
      break;
  }
  return true;
}

void sessions_kill_all(void) {
  for (struct session *s = sessions; s != NULL; s = s->next) {
    if (s->pid > 0) kill(s->pid, SIGKILL);
  }
}
