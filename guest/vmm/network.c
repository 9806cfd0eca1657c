/*
 * The guest takes over an interface of this network namespace: its MAC, MTU, addresses and routes, so that nothing changes for who
 * made it. A tap is joined with the interface either by tc (what comes in at one is sent out at the other, and the kernel's own stack
 * sees none of it) or by a bridge (the interface gives up its MAC and addresses).
 */
#define _GNU_SOURCE
#include "../common/netlink.h"
#include "vmm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void note_link(const struct nlmsghdr *message, void *context) {
  struct interface *interface = context;
  const struct ifinfomsg *link = NLMSG_DATA(message);
  if (link->ifi_index != interface->index) return;
  int left = (int)IFLA_PAYLOAD(message);
  for (const struct rtattr *a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(a) == 6) memcpy(interface->mac, RTA_DATA(a), 6);
    if (a->rta_type == IFLA_MTU) memcpy(&interface->mtu, RTA_DATA(a), 4);
  }
}

static void note_address(const struct nlmsghdr *message, void *context) {
  struct interface *interface = context;
  const struct ifaddrmsg *address = NLMSG_DATA(message);
  char text[64];
  const void *found = NULL;
  /* A link-local IPv6 address is the guest's own business. */
  if ((int)address->ifa_index != interface->index || address->ifa_scope == RT_SCOPE_LINK) return;
  int left = (int)IFA_PAYLOAD(message);
  for (const struct rtattr *a = IFA_RTA(address); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && found == NULL)) found = RTA_DATA(a);
  }
  if (found == NULL || inet_ntop(address->ifa_family, found, text, sizeof text) == NULL) return;
  fields_add(interface->configure, "address", "%s %s/%u", interface->name, text, address->ifa_prefixlen);
}

static void note_route(const struct nlmsghdr *message, void *context) {
  struct interface *interface = context;
  const struct rtmsg *route = NLMSG_DATA(message);
  const void *destination = NULL, *gateway = NULL;
  int through = 0;
  /* The kernel makes those of an address itself. */
  if (route->rtm_table != RT_TABLE_MAIN || route->rtm_type != RTN_UNICAST || route->rtm_protocol == RTPROT_KERNEL) return;
  int left = (int)RTM_PAYLOAD(message);
  for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == RTA_DST) destination = RTA_DATA(a);
    if (a->rta_type == RTA_GATEWAY) gateway = RTA_DATA(a);
    if (a->rta_type == RTA_OIF) memcpy(&through, RTA_DATA(a), 4);
  }
  if (through != interface->index) return;
  char to[64] = "", by[64] = "-";
  if (destination != NULL) inet_ntop(route->rtm_family, destination, to, sizeof to);
  else snprintf(to, sizeof to, route->rtm_family == AF_INET ? "0.0.0.0" : "::");
  if (gateway != NULL) inet_ntop(route->rtm_family, gateway, by, sizeof by);
  fields_add(interface->configure, "route", "%s %s/%u %s", interface->name, to, route->rtm_dst_len, by);
}

static bool read_interface(int socket, struct interface *interface, const char *name, size_t place) {
  struct nl_request request;
  struct ifinfomsg links = {0};
  struct ifaddrmsg addresses = {0};
  struct rtmsg routes = {0};
  nl_begin(&request, RTM_GETLINK, 0, &links, sizeof links);
  bool done = nl_dump(socket, &request, note_link, interface) == 0;
  const uint8_t *m = interface->mac;
  fields_add(interface->configure, name, "%zu %s %02x:%02x:%02x:%02x:%02x:%02x %u", place, interface->name, m[0], m[1], m[2], m[3], m[4],
             m[5], interface->mtu);
  nl_begin(&request, RTM_GETADDR, 0, &addresses, sizeof addresses);
  done = done && nl_dump(socket, &request, note_address, interface) == 0;
  nl_begin(&request, RTM_GETROUTE, 0, &routes, sizeof routes);
  return done && nl_dump(socket, &request, note_route, interface) == 0;
}

static int open_tap(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0) die(errno, "making %s of /dev/net/tun", name);
  return tap;
}

static void change_link(int socket, int index, const uint8_t *mac, int master, uint32_t mtu) {
  struct nl_request request;
  struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  if (mac != NULL) nl_put(&request, IFLA_ADDRESS, mac, 6);
  if (master > 0) nl_put_u32(&request, IFLA_MASTER, (uint32_t)master);
  if (mtu > 0) nl_put_u32(&request, IFLA_MTU, mtu);
  if (nl_do(socket, &request) < 0) die(errno, "network interface %d", index);
}

static void redirect(int socket, int from, int to) {
  struct nl_request request;
  struct tcmsg message = {.tcm_ifindex = from, .tcm_handle = 0xffff0000, .tcm_parent = TC_H_INGRESS};
  /* Of a machine that ran in this namespace before. */
  nl_begin(&request, RTM_DELQDISC, 0, &message, sizeof message);
  nl_do(socket, &request);
  nl_begin(&request, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof message);
  nl_put(&request, TCA_KIND, "ingress", 8);
  if (nl_do(socket, &request) < 0) die(errno, "the ingress queue of interface %d", from);
  struct {
    struct tc_u32_sel selector;
    struct tc_u32_key key; /* Mask 0: everything. */
  } all = {.selector = {.flags = TC_U32_TERMINAL, .nkeys = 1}};
  struct tc_mirred mirred = {.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to};
  message = (struct tcmsg){.tcm_ifindex = from, .tcm_parent = 0xffff0000, .tcm_info = TC_H_MAKE(1u << 16, htons(ETH_P_ALL))};
  nl_begin(&request, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof message);
  nl_put(&request, TCA_KIND, "u32", 4);
  struct nlattr *options = nl_nest(&request, TCA_OPTIONS);
  nl_put(&request, TCA_U32_SEL, &all, sizeof all.selector + sizeof all.key);
  struct nlattr *actions = nl_nest(&request, TCA_U32_ACT), *first = nl_nest(&request, 1);
  nl_put(&request, TCA_ACT_KIND, "mirred", 7);
  struct nlattr *action = nl_nest(&request, TCA_ACT_OPTIONS);
  nl_put(&request, TCA_MIRRED_PARMS, &mirred, sizeof mirred);
  nl_nest_end(&request, action);
  nl_nest_end(&request, first);
  nl_nest_end(&request, actions);
  nl_nest_end(&request, options);
  if (nl_do(socket, &request) < 0) die(errno, "redirecting interface %d", from);
}

static void drop_addresses(int socket, const struct interface *interface) {
  struct fields had = {(char *)bytes_front(interface->configure), interface->configure->length};
  for (const char *text = NULL; (text = field_next(had, "address", text)) != NULL;) {
    char name[IFNAMSIZ], where[64];
    unsigned prefix;
    uint8_t address[16];
    if (sscanf(text, "%15s %63[^/]/%u", name, where, &prefix) != 3 || strcmp(name, interface->name) != 0) continue;
    int family = strchr(where, ':') != NULL ? AF_INET6 : AF_INET;
    inet_pton(family, where, address);
    struct ifaddrmsg message = {.ifa_family = (uint8_t)family, .ifa_prefixlen = (uint8_t)prefix, .ifa_index = (uint32_t)interface->index};
    struct nl_request request;
    nl_begin(&request, RTM_DELADDR, 0, &message, sizeof message);
    nl_put(&request, IFA_LOCAL, address, family == AF_INET ? 4 : 16);
    if (nl_do(socket, &request) < 0) die(errno, "taking %s from %s", where, name);
  }
}

static void bridge(int socket, struct interface *interface, int tap, size_t nth) {
  struct nl_request request;
  struct ifinfomsg link = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  char name[IFNAMSIZ];
  snprintf(name, sizeof name, "vmbr%u", (unsigned)nth % 100);
  nl_begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  nl_put(&request, IFLA_IFNAME, name, strlen(name) + 1);
  struct nlattr *info = nl_nest(&request, IFLA_LINKINFO);
  nl_put(&request, IFLA_INFO_KIND, "bridge", 6);
  nl_nest_end(&request, info);
  if (nl_do(socket, &request) < 0) die(errno, "making the bridge %s", name);
  int index = (int)if_nametoindex(name);
  uint8_t other[6];
  memcpy(other, interface->mac, 6);
  other[0] |= 2;
  other[5] ^= 0x55;
  drop_addresses(socket, interface);
  change_link(socket, interface->index, other, index, 0);
  change_link(socket, tap, NULL, index, 0);
}

static void name_tap(char name[IFNAMSIZ], size_t nth) { snprintf(name, IFNAMSIZ, "vmtap%u", (unsigned)nth % 100); }

static int make_tap(size_t nth) {
  char name[IFNAMSIZ];
  name_tap(name, nth);
  return open_tap(name);
}

static struct interface find_interface(const char *name, struct bytes *configure) {
  struct interface interface = {.index = (int)if_nametoindex(name), .configure = configure};
  if (interface.index == 0) die(0, "there is no interface %s", name);
  snprintf(interface.name, sizeof interface.name, "%s", name);
  return interface;
}

/* With the tap of that number, which is there. */
static void join(int socket, struct interface *interface, size_t nth, const char *how) {
  char name[IFNAMSIZ];
  name_tap(name, nth);
  int tap = (int)if_nametoindex(name);
  change_link(socket, tap, NULL, 0, interface->mtu);
  if (how != NULL && strcmp(how, "bridge") == 0) {
    bridge(socket, interface, tap, nth);
  } else {
    redirect(socket, interface->index, tap);
    redirect(socket, tap, interface->index);
  }
}

size_t lay_out_nics(struct fields spec, struct nic *nics) {
  size_t count = field_count(spec, "net"), spare = (size_t)field_number(spec, "spare", 0);
  if (count > NICS) die(0, "more than %d networks", NICS);
  if (spare > SPARE_NICS) die(0, "more than %d cards to spare", SPARE_NICS);
  for (size_t i = 0; i < count + spare; i++) {
    /* The agent knows spare ones by their slots. */
    nics[i] = (struct nic){.tap = -1, .slot = (unsigned)(i < count ? 8 + i : 0x18 + i - count)};
    snprintf(nics[i].mac, sizeof nics[i].mac, "52:54:00:00:00:%02x", (unsigned)i + 1);
  }
  return count + spare;
}

size_t make_taps(struct fields spec, struct nic *nics) {
  size_t count = lay_out_nics(spec, nics);
  for (size_t i = 0; i < count; i++) {
    nics[i].tap = make_tap(i);
    /* It goes with its namespace, for which nobody waits: for one that goes with its descriptor QEMU's end waits 20 milliseconds. */
    if (ioctl(nics[i].tap, TUNSETPERSIST, 1) < 0) die(errno, "keeping a tap");
  }
  return count;
}

bool move_taps(size_t first, size_t count, int namespace) {
  int socket = nl_open();
  bool done = socket >= 0;
  for (size_t i = first; done && i < count; i++) {
    char name[IFNAMSIZ];
    struct nl_request request;
    name_tap(name, i);
    struct ifinfomsg link = {.ifi_index = (int)if_nametoindex(name)};
    nl_begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
    nl_put_u32(&request, IFLA_NET_NS_FD, (uint32_t)namespace);
    done = nl_do(socket, &request) == 0;
  }
  int error = errno;
  if (socket >= 0) close(socket);
  errno = error;
  return done;
}

size_t read_network(struct fields spec, struct interface *interfaces, struct bytes *configure) {
  size_t count = 0;
  int socket = nl_open();
  if (socket < 0) die(errno, "a netlink socket");
  for (const char *name = NULL; (name = field_next(spec, "net", name)) != NULL; count++) {
    interfaces[count] = (struct interface){0};
    if (strcmp(name, "-") == 0) continue;
    interfaces[count] = find_interface(name, configure);
    if (!read_interface(socket, &interfaces[count], "link", count)) die(errno, "reading %s", name);
  }
  close(socket);
  return count;
}

void join_network(struct fields spec, struct interface *interfaces, size_t count) {
  int socket = nl_open();
  if (socket < 0) die(errno, "a netlink socket");
  for (size_t i = 0; i < count; i++) {
    if (interfaces[i].index != 0) join(socket, &interfaces[i], i, field(spec, "net.join"));
  }
  close(socket);
}

bool describe_interface(struct interface *interface, const char *field_name, size_t place) {
  int socket = nl_open();
  bool done = socket >= 0 && read_interface(socket, interface, field_name, place);
  int error = errno;
  if (socket >= 0) close(socket);
  errno = error;
  return done;
}

struct later {
  const char *name, *how;
  size_t nth;
  int road; /* for a tap that is made; -1: it is there */
};

/* A keeper may still be moving it. */
static void await_tap(size_t nth) {
  char name[IFNAMSIZ];
  name_tap(name, nth);
  for (int look = 0; if_nametoindex(name) == 0; look++, usleep(5000)) {
    if (look == 400) die(0, "there is no %s", name);
  }
}

_Noreturn static void join_apart(const struct later *later) {
  struct bytes unused = {0};
  int socket = nl_open(), tap = -1;
  if (socket < 0) die(errno, "a netlink socket");
  if (later->road >= 0) tap = make_tap(later->nth);
  else await_tap(later->nth);
  struct interface interface = find_interface(later->name, &unused);
  if (!read_interface(socket, &interface, "link", later->nth)) die(errno, "reading %s", later->name);
  join(socket, &interface, later->nth, later->how);
  if (later->road >= 0 && !send_with_fds(later->road, "", 1, &tap, 1)) die(errno, "handing a tap over");
  _exit(0);
}

/* In a process of its own: what is fatal to a start must not end a machine that runs. False with its words. */
static bool run_apart(const struct later *later, char *problem, size_t room) {
  int words[2], status;
  size_t length = 0;
  if (pipe2(words, O_CLOEXEC) < 0) die(errno, "a pipe");
  pid_t pid = fork();
  if (pid < 0) die(errno, "fork");
  if (pid == 0) {
    dup2(words[1], 2);
    join_apart(later);
  }
  close(words[1]);
  for (ssize_t got; length + 1 < room && (got = read(words[0], problem + length, room - 1 - length)) > 0;) length += (size_t)got;
  problem[length] = 0;
  problem[strcspn(problem, "\n")] = 0;
  close(words[0]);
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int join_later(const char *name, size_t nth, const char *how, char *problem, size_t room) {
  int pair[2], tap = -1;
  char reason[160], byte;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die(errno, "a pipe");
  struct later later = {.name = name, .how = how, .nth = nth, .road = pair[1]};
  bool done = run_apart(&later, reason, sizeof reason);
  close(pair[1]);
  if (done) receive_with_fds(pair[0], &byte, 1, &tap, 1);
  else snprintf(problem, room, "error %s\n", reason);
  close(pair[0]);
  return tap;
}

bool join_spare(const char *name, size_t nth, const char *how, char *problem, size_t room) {
  struct later later = {.name = name, .how = how, .nth = nth, .road = -1};
  return run_apart(&later, problem, room);
}
