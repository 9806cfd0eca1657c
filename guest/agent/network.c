/* Interfaces, addresses and routes, by rtnetlink: four `ip` processes would take 650 ms under emulation. */
#define _GNU_SOURCE
#include "../common/netlink.h"
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEVICES 32

struct devices {
  int index[DEVICES];
  size_t count;
};

static void note_device(const struct nlmsghdr *message, void *context) {
  const struct ifinfomsg *link = NLMSG_DATA(message);
  struct devices *devices = context;
  if (message->nlmsg_type != RTM_NEWLINK || link->ifi_flags & IFF_LOOPBACK || devices->count == DEVICES) return;
  size_t at = devices->count++;
  /* In the order that the kernel found them, which is that of their slots. */
  for (; at > 0 && devices->index[at - 1] > link->ifi_index; at--) devices->index[at] = devices->index[at - 1];
  devices->index[at] = link->ifi_index;
}

static int set_up(int socket, int index) {
  struct nl_request request;
  struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  return nl_do(socket, &request);
}

static bool set_link(int socket, const char *text, struct failure *failure) {
  unsigned nth, mtu = 0, mac[6];
  char name[IFNAMSIZ], current[IFNAMSIZ];
  if (sscanf(text, "%u %15s %x:%x:%x:%x:%x:%x %u", &nth, name, mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5, &mtu) < 8)
    return fail(failure, "invalid", 0, "link=%.80s", text);
  struct nl_request request;
  struct devices devices = {0};
  struct ifinfomsg all = {0};
  nl_begin(&request, RTM_GETLINK, 0, &all, sizeof all);
  if (nl_dump(socket, &request, note_device, &devices) < 0) return fail(failure, "system", errno, "listing network devices");
  if (nth >= devices.count) return fail(failure, "invalid", 0, "there is no network device %u", nth);
  int index = devices.index[nth];
  uint8_t address[6];
  for (int i = 0; i < 6; i++) address[i] = (uint8_t)mac[i];
  /* Down first: a name, and with some devices a MAC, changes only then (after a restore it is up). */
  struct ifinfomsg link = {.ifi_index = index, .ifi_change = IFF_UP};
  nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  if (nl_do(socket, &request) < 0) return fail(failure, "system", errno, "taking %s down", name);
  nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  nl_put(&request, IFLA_ADDRESS, address, 6);
  if (mtu > 0) nl_put_u32(&request, IFLA_MTU, mtu);
  if (if_indextoname((unsigned)index, current) == NULL || strcmp(current, name) != 0) nl_put(&request, IFLA_IFNAME, name, strlen(name) + 1);
  if (nl_do(socket, &request) < 0) return fail(failure, "system", errno, "network device %s", name);
  return set_up(socket, index) == 0 ? true : fail(failure, "system", errno, "taking %s up", name);
}

/* "address/prefix" into bytes; the family, or 0. */
static int parse_prefix(const char *text, uint8_t address[16], unsigned *prefix) {
  char host[64];
  if (sscanf(text, "%63[^/]/%u", host, prefix) != 2) return 0;
  if (inet_pton(AF_INET, host, address) == 1) return AF_INET;
  return inet_pton(AF_INET6, host, address) == 1 ? AF_INET6 : 0;
}

static size_t size_of(int family) { return family == AF_INET ? 4 : 16; }

static bool add_address(int socket, const char *text, struct failure *failure) {
  char name[IFNAMSIZ], where[80];
  uint8_t address[16];
  unsigned prefix = 0;
  int family = sscanf(text, "%15s %79s", name, where) == 2 ? parse_prefix(where, address, &prefix) : 0;
  if (family == 0) return fail(failure, "invalid", 0, "address=%.80s", text);
  struct ifaddrmsg message = {.ifa_family = (uint8_t)family,
                              .ifa_prefixlen = (uint8_t)prefix,
                              .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
                              .ifa_index = if_nametoindex(name)};
  struct nl_request request;
  nl_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &message, sizeof message);
  nl_put(&request, IFA_LOCAL, address, size_of(family));
  nl_put(&request, IFA_ADDRESS, address, size_of(family));
  if (family == AF_INET && prefix < 31) {
    uint32_t broadcast;
    memcpy(&broadcast, address, 4);
    broadcast |= htonl(0xffffffffu >> prefix);
    nl_put(&request, IFA_BROADCAST, &broadcast, 4);
  }
  return nl_do(socket, &request) == 0 ? true : fail(failure, "system", errno, "address %.80s", text);
}

static bool add_route(int socket, const char *text, struct failure *failure) {
  char name[IFNAMSIZ], where[80], through[64];
  uint8_t address[16], gateway[16];
  unsigned prefix = 0;
  int family = sscanf(text, "%15s %79s %63s", name, where, through) == 3 ? parse_prefix(where, address, &prefix) : 0;
  bool direct = strcmp(through, "-") == 0;
  if (family == 0 || (!direct && inet_pton(family, through, gateway) != 1)) return fail(failure, "invalid", 0, "route=%.80s", text);
  struct rtmsg message = {.rtm_family = (uint8_t)family,
                          .rtm_dst_len = (uint8_t)prefix,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = RTPROT_BOOT,
                          .rtm_scope = direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                          .rtm_type = RTN_UNICAST};
  struct nl_request request;
  nl_begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &message, sizeof message);
  if (prefix > 0) nl_put(&request, RTA_DST, address, size_of(family));
  if (!direct) nl_put(&request, RTA_GATEWAY, gateway, size_of(family));
  nl_put_u32(&request, RTA_OIF, if_nametoindex(name));
  return nl_do(socket, &request) == 0 ? true : fail(failure, "system", errno, "route %.80s", text);
}

bool configure_network(struct fields fields, struct failure *failure) {
  const struct {
    const char *name;
    bool (*set)(int, const char *, struct failure *);
  } each[] = {{"link", set_link}, {"address", add_address}, {"route", add_route}};
  int socket = nl_open();
  if (socket < 0) return fail(failure, "system", errno, "a netlink socket");
  bool done = set_up(socket, (int)if_nametoindex("lo")) == 0 ? true : fail(failure, "system", errno, "taking lo up");
  for (size_t i = 0; done && i < sizeof each / sizeof *each; i++) {
    for (const char *value = NULL; done && (value = field_next(fields, each[i].name, value)) != NULL;)
      done = each[i].set(socket, value, failure);
  }
  close(socket);
  return done;
}
