#define _GNU_SOURCE
#include "netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int nl_open(void) { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); }

void nl_begin(struct nl_request *request, uint16_t type, uint16_t flags, const void *body, size_t length) {
  memset(request, 0, sizeof *request);
  request->header.nlmsg_type = type;
  request->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  request->header.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + NLMSG_ALIGN(length));
  memcpy(request->body, body, length);
}

static uint8_t *nl_end(struct nl_request *request) { return (uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len); }

void nl_put(struct nl_request *request, uint16_t type, const void *data, size_t length) {
  struct nlattr attribute = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + length)};
  uint8_t *at = nl_end(request);
  memcpy(at, &attribute, sizeof attribute);
  if (length > 0) memcpy(at + NLA_HDRLEN, data, length);
  request->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + NLA_ALIGN(attribute.nla_len));
}

struct nlattr *nl_nest(struct nl_request *request, uint16_t type) {
  struct nlattr *nest = (struct nlattr *)(void *)nl_end(request);
  nl_put(request, type, NULL, 0);
  return nest;
}

void nl_nest_end(struct nl_request *request, struct nlattr *nest) { nest->nla_len = (uint16_t)(nl_end(request) - (uint8_t *)nest); }

static int nl_exchange(int socket, struct nl_request *request, void (*each)(const struct nlmsghdr *, void *), void *context) {
  static uint32_t sequence;
  static uint8_t answer[32768] __attribute__((aligned(4)));
  request->header.nlmsg_seq = ++sequence;
  if (send(socket, request, request->header.nlmsg_len, 0) < 0) return -1;
  for (;;) {
    ssize_t got = recv(socket, answer, sizeof answer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    size_t left = (size_t)got;
    for (struct nlmsghdr *message = (struct nlmsghdr *)(void *)answer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != sequence) continue;
      if (message->nlmsg_type == NLMSG_DONE) return 0;
      if (message->nlmsg_type == NLMSG_ERROR) {
        errno = -((struct nlmsgerr *)NLMSG_DATA(message))->error;
        return errno == 0 ? 0 : -1;
      }
      if (each != NULL) each(message, context);
    }
  }
}

int nl_do(int socket, struct nl_request *request) {
  request->header.nlmsg_flags |= NLM_F_ACK;
  return nl_exchange(socket, request, NULL, NULL);
}

int nl_dump(int socket, struct nl_request *request, void (*each)(const struct nlmsghdr *message, void *context), void *context) {
  request->header.nlmsg_flags |= NLM_F_DUMP;
  return nl_exchange(socket, request, each, context);
}
