/*
 * Clients of run/agent.sock. Each has channels numbered by itself; on the port they have numbers of ours. What a client that has left
 * had open is cancelled, and its numbers are free when the agent says CLOSED.
 *
 * What a client asks of the machine's cards (verb=cards) is done here as far as it is this side's, and passed on as the agent's part of it
 * (see cards.c), whose answer is the client's.
 *
 * A client that wants to know when the main process runs opens `verb=started`, which is answered here: REPLY, or ERROR as the agent
 * gave it, and CLOSED.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A client that has granted more than it reads. */
#define CLIENT_BACKLOG (64u * 1024u * 1024u)

struct client {
  struct client *next;
  int fd;
  bool gone;
  struct bytes in, out;
  /* Waits for the main process, on this channel; 0: no. */
  uint32_t waits;
};

struct route {
  struct route *next;
  uint32_t channel;       /* on the port */
  struct client *client;  /* NULL: it has left */
  uint32_t theirs;
};

static int listener = -1;
static struct client *clients;
static struct route *routes;
static bool started;
static struct bytes start_failure;
static struct cards *cards;

void switch_listen(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  /* Under its name only when it takes connections. */
  if (snprintf(address.sun_path, sizeof address.sun_path, "%s.new", path) >= (int)sizeof address.sun_path) die(0, "%s is too long for a socket", path);
  unlink(address.sun_path);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || chmod(address.sun_path, 0600) < 0 ||
      listen(listener, 64) < 0 || rename(address.sun_path, path) < 0)
    die(errno, "%s", path);
}

static struct route *route_of(struct client *client, uint32_t theirs) {
  struct route *route = routes;
  while (route != NULL && (route->client != client || route->theirs != theirs)) route = route->next;
  return route;
}

static void remove_route(struct route *route) {
  struct route **at = &routes;
  while (*at != route) at = &(*at)->next;
  *at = route->next;
  free(route);
}

static struct route *add_route(struct client *client, uint32_t theirs) {
  static uint32_t last = 1; /* 1 is the main process. */
  struct route *route = calloc(1, sizeof *route);
  if (route == NULL) abort();
  *route = (struct route){.next = routes, .channel = ++last, .client = client, .theirs = theirs};
  routes = route;
  return route;
}

static void answer_wait(struct client *client) {
  if (client->waits == 0 || (!started && start_failure.length == 0)) return;
  bool failed = start_failure.length > 0;
  frame_put(&client->out, client->waits, failed ? FRAME_ERROR : FRAME_REPLY, 0, failed ? bytes_front(&start_failure) : NULL, start_failure.length);
  frame_put(&client->out, client->waits, FRAME_CLOSED, 0, NULL, 0);
  client->waits = 0;
}

void switch_started(const struct bytes *failure) {
  started = failure == NULL;
  if (failure != NULL && start_failure.length == 0) bytes_append(&start_failure, bytes_front(failure), failure->length);
  for (struct client *client = clients; client != NULL; client = client->next) answer_wait(client);
}

/* --- from clients */

static bool asks_for(const struct frame *frame, const char *what) {
  struct fields fields = frame_fields(frame);
  const char *verb = frame->type == FRAME_OPEN && fields_check(fields) ? field(fields, "verb") : NULL;
  return verb != NULL && strcmp(verb, what) == 0;
}

static void refuse(struct client *client, uint32_t channel, const char *problem) {
  struct bytes failure = {0};
  fields_add(&failure, "kind", "system");
  fields_add(&failure, "message", "%s", problem);
  frame_put_fields(&client->out, channel, FRAME_ERROR, &failure);
  frame_put(&client->out, channel, FRAME_CLOSED, 0, NULL, 0);
}

/* Ours to answer only when it can't be done. */
static void serve_cards(struct client *client, struct bytes *link, const struct frame *frame) {
  struct bytes configure = {0};
  char problem[256] = "the machine has no cards yet";
  if (route_of(client, frame->channel) != NULL) return;
  if (cards == NULL || !change_cards(cards, frame_fields(frame), &configure, problem, sizeof problem)) refuse(client, frame->channel, problem);
  else if (configure.length > FRAME_MAX) refuse(client, frame->channel, "the files of the network do not fit a request");
  else frame_put_fields(link, add_route(client, frame->channel)->channel, FRAME_OPEN, &configure);
  bytes_free(&configure);
}

/* HELLOs are answered in their order by the agent: who asked, first to last. */
static struct client *askers[64];
static size_t asker_count;

static void pass_on(struct client *client, struct bytes *link, const struct frame *frame) {
  if (asks_for(frame, "cards")) return serve_cards(client, link, frame);
  if (asks_for(frame, "started")) {
    client->waits = frame->channel;
    answer_wait(client);
    return;
  }
  if (frame->channel == 0) {
    if (frame->type != FRAME_HELLO || asker_count == sizeof askers / sizeof *askers) return;
    askers[asker_count++] = client;
    frame_put(link, 0, FRAME_HELLO, 0, NULL, 0);
    return;
  }
  struct route *route = route_of(client, frame->channel);
  if (frame->type == FRAME_OPEN && route == NULL) route = add_route(client, frame->channel);
  if (route != NULL) frame_put(link, route->channel, frame->type, frame->stream, frame->payload, frame->length);
}

static void leave(struct client *client, struct bytes *link) {
  client->gone = true;
  close(client->fd);
  for (size_t i = 0; i < asker_count; i++) {
    if (askers[i] == client) askers[i] = NULL;
  }
  for (struct route *route = routes; route != NULL; route = route->next) {
    if (route->client != client) continue;
    route->client = NULL;
    frame_put(link, route->channel, FRAME_CANCEL, 0, NULL, 0);
  }
}

static void read_client(struct client *client, struct bytes *link) {
  static uint8_t buffer[FRAME_MAX];
  ssize_t got = read(client->fd, buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return leave(client, link);
  bytes_append(&client->in, buffer, (size_t)got);
  struct frame frame;
  enum frame_state state;
  while ((state = frame_peek(&client->in, &frame)) == FRAME_WHOLE) {
    pass_on(client, link, &frame);
    frame_done(&client->in, &frame);
  }
  if (state == FRAME_BROKEN) leave(client, link);
}

static void write_client(struct client *client, struct bytes *link) {
  while (client->out.length > 0) {
    ssize_t sent = write(client->fd, bytes_front(&client->out), client->out.length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) return leave(client, link);
    bytes_consume(&client->out, (size_t)sent);
  }
  if (client->out.length > CLIENT_BACKLOG) leave(client, link);
}

static void greet(void) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct client *client = calloc(1, sizeof *client);
  if (client == NULL) abort();
  client->fd = fd;
  client->next = clients;
  clients = client;
}

bool switch_has_clients(void) { return clients != NULL; }

void switch_serve_cards(struct cards *of) { cards = of; }

size_t switch_poll(struct pollfd *fds, size_t room, bool may_send) {
  size_t count = 0;
  if (listener >= 0) fds[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
  for (struct client *client = clients; client != NULL && count < room; client = client->next) {
    short events = (short)((may_send ? POLLIN : 0) | (client->out.length > 0 ? POLLOUT : 0));
    fds[count++] = (struct pollfd){.fd = client->fd, .events = events};
  }
  return count;
}

static short ready(const struct pollfd *fds, size_t count, int fd) {
  for (size_t i = 0; i < count; i++) {
    if (fds[i].fd == fd) return fds[i].revents;
  }
  return 0;
}

void switch_polled(struct bytes *link, const struct pollfd *fds, size_t count) {
  for (struct client *client = clients; client != NULL; client = client->next) {
    short events = ready(fds, count, client->fd);
    if (!client->gone && events & (POLLIN | POLLHUP | POLLERR)) read_client(client, link);
    if (!client->gone && client->out.length > 0) write_client(client, link);
  }
  for (struct client **at = &clients; *at != NULL;) {
    struct client *client = *at;
    if (!client->gone) {
      at = &client->next;
      continue;
    }
    *at = client->next;
    bytes_free(&client->in);
    bytes_free(&client->out);
    free(client);
  }
  if (listener >= 0 && ready(fds, count, listener) != 0) greet();
}

/* --- from the agent */

void switch_frame(const struct frame *frame) {
  if (frame->channel == 0 && frame->type == FRAME_HELLO && asker_count > 0) {
    struct client *client = askers[0];
    memmove(askers, askers + 1, --asker_count * sizeof *askers);
    if (client != NULL) frame_put(&client->out, 0, FRAME_HELLO, 0, frame->payload, frame->length);
    return;
  }
  struct route *route = routes;
  while (route != NULL && route->channel != frame->channel) route = route->next;
  if (route == NULL) return;
  if (route->client != NULL) frame_put(&route->client->out, route->theirs, frame->type, frame->stream, frame->payload, frame->length);
  if (frame->type == FRAME_CLOSED) remove_route(route);
}
