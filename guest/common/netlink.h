/* Just enough rtnetlink (rtnetlink(7)) for a guest's and a jail's network: one request, one acknowledgement. */
#ifndef BERTH_NETLINK_H
#define BERTH_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

struct nl_request {
  struct nlmsghdr header;
  uint8_t body[1024];
};

/* A NETLINK_ROUTE socket, or -1. */
int nl_open(void);
void nl_begin(struct nl_request *request, uint16_t type, uint16_t flags, const void *body, size_t length);
void nl_put(struct nl_request *request, uint16_t type, const void *data, size_t length);
static inline void nl_put_u32(struct nl_request *request, uint16_t type, uint32_t value) { nl_put(request, type, &value, 4); }
/* Where a nested attribute begins, for nl_nest_end. */
struct nlattr *nl_nest(struct nl_request *request, uint16_t type);
void nl_nest_end(struct nl_request *request, struct nlattr *nest);
/* Sends it and waits for its acknowledgement: 0, or -1 with errno as the kernel says. */
int nl_do(int socket, struct nl_request *request);
/* Sends a dump request and calls `each` for every message; 0, or -1 with errno. */
int nl_dump(int socket, struct nl_request *request, void (*each)(const struct nlmsghdr *message, void *context), void *context);

#endif
