#define _GNU_SOURCE
#include "vmm.h"

#include <string.h>
#include <sys/socket.h>

#define MOST 8

bool send_with_fds(int to, const void *data, size_t length, const int *fds, size_t count) {
  struct iovec part = {.iov_base = (void *)data, .iov_len = length};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(MOST * sizeof(int))];
  } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))}};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > MOST) return false;
  if (count > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
  }
  return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)length;
}

ssize_t receive_with_fds(int from, void *data, size_t room, int *fds, size_t count) {
  struct iovec part = {.iov_base = data, .iov_len = room};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(MOST * sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  for (size_t i = 0; i < count; i++) fds[i] = -1;
  ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  if (got <= 0 || message.msg_controllen < CMSG_LEN(sizeof(int)) || control.header.cmsg_type != SCM_RIGHTS) return got;
  size_t came = (control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(&control.header), (came < count ? came : count) * sizeof(int));
  return got;
}
