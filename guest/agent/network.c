/* Interfaces, addresses and routes, by rtnetlink: four `ip` processes would take 650 ms under emulation. */
#define _GNU_SOURCE
#include "../common/netlink.h"
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEVICES 32
/* Of those that documentation has (RFC 5737): nobody's, for a moment. */
#define NOWHERE "192.0.2.2"
#define THROUGH "192.0.2.1"

struct devices {
  int index[DEVICES];
  bool up[DEVICES];
  size_t count;
};

static void note_device(const struct nlmsghdr *message, void *context) {
  const struct ifinfomsg *link = NLMSG_DATA(message);
  struct devices *devices = context;
  if (message->nlmsg_type != RTM_NEWLINK || link->ifi_flags & IFF_LOOPBACK || devices->count == DEVICES) return;
  size_t at = devices->count++;
  /* In the order that the kernel found them, which is that of their slots. */
  for (; at > 0 && devices->index[at - 1] > link->ifi_index; at--) {
    devices->index[at] = devices->index[at - 1];
    devices->up[at] = devices->up[at - 1];
  }
  devices->index[at] = link->ifi_index;
  devices->up[at] = (link->ifi_flags & IFF_UP) != 0;
}

static bool find_devices(int socket, struct devices *devices) {
  struct nl_request request;
  struct ifinfomsg all = {0};
  nl_begin(&request, RTM_GETLINK, 0, &all, sizeof all);
  return nl_dump(socket, &request, note_device, devices) == 0;
}

/* Without IPv6 there are no such switches. */
static void set_ipv6(const char *name, const char *what, const char *value) {
  char path[96];
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/%s", name, what);
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, value, 1) < 0) fprintf(stderr, "berth: %s: %s\n", path, strerror(errno));
  close(file);
}

/* Whether it makes itself an IPv6 address of its MAC: no longer having one, while its MAC is not its own yet. */
static void set_own_addresses(const char *name, bool on) {
  set_ipv6(name, "addr_gen_mode", on ? "0" : "1");
  if (on) return;
  set_ipv6(name, "disable_ipv6", "1");
  set_ipv6(name, "disable_ipv6", "0");
}

static int set_flags(int socket, int index, unsigned flags) {
  struct nl_request request;
  struct ifinfomsg link = {.ifi_index = index, .ifi_flags = flags, .ifi_change = IFF_UP};
  nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  return nl_do(socket, &request);
}

static int set_up(int socket, int index) { return set_flags(socket, index, IFF_UP); }

bool take_device(int socket, unsigned index, const char *name, const uint8_t mac[6], unsigned mtu, struct failure *failure) {
  char current[IFNAMSIZ];
  struct devices devices = {0};
  struct nl_request request;
  bool up = false;
  if (!find_devices(socket, &devices)) return fail(failure, "system", errno, "listing network devices");
  for (size_t i = 0; i < devices.count; i++) up |= (unsigned)devices.index[i] == index && devices.up[i];
  bool named = if_indextoname(index, current) != NULL && strcmp(current, name) == 0;
  struct ifinfomsg link = {.ifi_index = (int)index};
  /* A name changes only while it is down; virtio's MAC at any time. To take one up fills its queue, which is worth having been done. */
  if (up && !named && set_flags(socket, (int)index, 0) < 0) return fail(failure, "system", errno, "taking %s down", name);
  nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  nl_put(&request, IFLA_ADDRESS, mac, 6);
  if (mtu > 0) nl_put_u32(&request, IFLA_MTU, mtu);
  if (!named) nl_put(&request, IFLA_IFNAME, name, strlen(name) + 1);
  if (nl_do(socket, &request) < 0) return fail(failure, "system", errno, "network device %s", name);
  set_own_addresses(name, true);
  if (up && named) return true;
  return set_up(socket, (int)index) == 0 ? true : fail(failure, "system", errno, "taking %s up", name);
}

bool parse_device(const char *text, unsigned *place, char name[16], uint8_t mac[6], unsigned *mtu) {
  unsigned octets[6];
  *mtu = 0;
  int count = sscanf(text, "%u %15s %x:%x:%x:%x:%x:%x %u", place, name, octets, octets + 1, octets + 2, octets + 3, octets + 4, octets + 5, mtu);
  for (int i = 0; count >= 8 && i < 6; i++) mac[i] = (uint8_t)octets[i];
  return count >= 8;
}

static bool set_link(int socket, const char *text, struct failure *failure) {
  unsigned nth, mtu;
  char name[IFNAMSIZ];
  uint8_t mac[6];
  struct devices devices = {0};
  if (!parse_device(text, &nth, name, mac, &mtu)) return fail(failure, "invalid", 0, "link=%.80s", text);
  if (!find_devices(socket, &devices)) return fail(failure, "system", errno, "listing network devices");
  if (nth >= devices.count) return fail(failure, "invalid", 0, "there is no network device %u", nth);
  return take_device(socket, (unsigned)devices.index[nth], name, mac, mtu, failure);
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

/* And with it what goes through it. */
static bool drop_address(int socket, int index, struct failure *failure) {
  struct nl_request request;
  struct ifaddrmsg message = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = (uint32_t)index};
  uint32_t address;
  inet_pton(AF_INET, NOWHERE, &address);
  nl_begin(&request, RTM_DELADDR, 0, &message, sizeof message);
  nl_put(&request, IFA_LOCAL, &address, sizeof address);
  return nl_do(socket, &request) == 0 ? true : fail(failure, "system", errno, "dropping " NOWHERE);
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
  done = done && set_cards(socket, fields, failure);
  for (size_t i = 0; done && i < sizeof each / sizeof *each; i++) {
    for (const char *value = NULL; done && (value = field_next(fields, each[i].name, value)) != NULL;)
      done = each[i].set(socket, value, failure);
  }
  close(socket);
  return done;
}

bool prepare_network(struct failure *failure) {
  struct devices devices = {0};
  int socket = nl_open();
  if (socket < 0 || !find_devices(socket, &devices)) return fail(failure, "system", errno, "listing network devices");
  bool done = true;
  for (size_t i = 0; done && i < devices.count; i++) {
    char name[IFNAMSIZ], address[64], route[64];
    if (if_indextoname((unsigned)devices.index[i], name) == NULL) continue;
    set_own_addresses(name, false);
    done = set_up(socket, devices.index[i]) == 0 ? true : fail(failure, "system", errno, "taking %s up", name);
    snprintf(address, sizeof address, "%s " NOWHERE "/24", name);
    snprintf(route, sizeof route, "%s 0.0.0.0/0 " THROUGH, name);
    done = done && add_address(socket, address, failure) && add_route(socket, route, failure) && drop_address(socket, devices.index[i], failure);
  }
  close(socket);
  return done;
}
