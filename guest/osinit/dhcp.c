/* DHCP for one card (RFC 2131), and no more than a server of a virtual network answers: address, mask, router, name servers, lease. */
#define _GNU_SOURCE
#include "osinit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <stddef.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };
enum { OPTION_MASK = 1, OPTION_ROUTER = 3, OPTION_DNS = 6, OPTION_ADDRESS = 50, OPTION_LEASE = 51, OPTION_TYPE = 53, OPTION_SERVER = 54, OPTION_WANTED = 55 };
#define ANSWER_MS 3000
#define NAMESERVERS 3

struct packet {
  uint8_t op, hardware, length, hops;
  uint32_t id;
  uint16_t seconds, flags;
  uint32_t client, yours, next, relay;
  uint8_t mac[16], name[64], file[128];
  uint32_t cookie;
  uint8_t options[312];
} __attribute__((packed));

struct lease {
  uint32_t address, mask, router, server, seconds;
  uint32_t dns[NAMESERVERS];
  int dns_count;
};

static char card[IFNAMSIZ];
static uint8_t mac[6];

/* The first Ethernet card, set up. */
static bool find_card(int socket) {
  DIR *cards = opendir("/sys/class/net");
  int best = 0;
  for (struct dirent *entry; cards != NULL && (entry = readdir(cards)) != NULL;) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, IFNAMSIZ, "%.15s", entry->d_name);
    if (entry->d_name[0] == '.' || ioctl(socket, SIOCGIFHWADDR, &request) < 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER) continue;
    int index = (int)if_nametoindex(request.ifr_name);
    if (best != 0 && index > best) continue;
    best = index;
    snprintf(card, sizeof card, "%s", request.ifr_name);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
  }
  if (cards != NULL) closedir(cards);
  struct ifreq request = {0};
  memcpy(request.ifr_name, card, IFNAMSIZ);
  if (best == 0 || ioctl(socket, SIOCGIFFLAGS, &request) < 0) return false;
  request.ifr_flags |= IFF_UP;
  return ioctl(socket, SIOCSIFFLAGS, &request) == 0;
}

static uint8_t *add_option(uint8_t *at, uint8_t code, const void *data, uint8_t length) {
  *at++ = code;
  *at++ = length;
  memcpy(at, data, length);
  return at + length;
}

static bool send_packet(int socket, uint32_t id, uint8_t type, const struct lease *lease) {
  struct packet packet = {.op = 1, .hardware = 1, .length = 6, .id = id, .flags = htons(0x8000), .cookie = htonl(0x63825363)};
  static const uint8_t wanted[] = {OPTION_MASK, OPTION_ROUTER, OPTION_DNS, OPTION_LEASE};
  memcpy(packet.mac, mac, 6);
  uint8_t *at = add_option(packet.options, OPTION_TYPE, &type, 1);
  if (type == REQUEST) {
    at = add_option(at, OPTION_ADDRESS, &lease->address, 4);
    at = add_option(at, OPTION_SERVER, &lease->server, 4);
  }
  at = add_option(at, OPTION_WANTED, wanted, sizeof wanted);
  *at = 255;
  struct sockaddr_in all = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = INADDR_BROADCAST};
  return sendto(socket, &packet, sizeof packet, 0, (struct sockaddr *)&all, sizeof all) == (ssize_t)sizeof packet;
}

/* The type of an answer, with what it says in `lease`; 0 for what is none to us. */
static int read_answer(const struct packet *packet, size_t length, uint32_t id, struct lease *lease) {
  if (length < offsetof(struct packet, options) || packet->op != 2 || packet->id != id || memcmp(packet->mac, mac, 6) != 0) return 0;
  const uint8_t *at = packet->options, *end = (const uint8_t *)packet + length;
  int type = 0;
  memset(lease, 0, sizeof *lease);
  lease->address = packet->yours;
  while (at < end && *at != 255) {
    if (*at == 0) {
      at++;
      continue;
    }
    if (end - at < 2 || end - at - 2 < at[1]) return 0;
    const uint8_t *value = at + 2;
    uint8_t code = at[0], size = at[1];
    if (code == OPTION_TYPE && size == 1) type = *value;
    if (code == OPTION_MASK && size == 4) memcpy(&lease->mask, value, 4);
    if (code == OPTION_ROUTER && size >= 4) memcpy(&lease->router, value, 4);
    if (code == OPTION_SERVER && size == 4) memcpy(&lease->server, value, 4);
    if (code == OPTION_LEASE && size == 4) memcpy(&lease->seconds, value, 4);
    for (int i = 0; code == OPTION_DNS && i < NAMESERVERS && 4 * (i + 1) <= size; i++) {
      memcpy(&lease->dns[i], value + 4 * i, 4);
      lease->dns_count = i + 1;
    }
    at += 2 + size;
  }
  return type;
}

static int receive(int socket, uint32_t id, struct lease *lease) {
  struct pollfd readable = {.fd = socket, .events = POLLIN};
  for (int tries = 0; tries < 20 && poll(&readable, 1, ANSWER_MS) > 0; tries++) {
    struct packet packet;
    ssize_t length = recv(socket, &packet, sizeof packet, 0);
    int type = length < 0 ? 0 : read_answer(&packet, (size_t)length, id, lease);
    if (type == OFFER || type == ACK || type == NAK) return type;
  }
  return 0;
}

static bool take_lease(int socket, struct lease *lease) {
  uint32_t id;
  struct lease offer;
  if (getrandom(&id, sizeof id, 0) != sizeof id || !send_packet(socket, id, DISCOVER, NULL) || receive(socket, id, &offer) != OFFER) return false;
  return send_packet(socket, id, REQUEST, &offer) && receive(socket, id, lease) == ACK;
}

static void set_address(int socket, unsigned long what, uint32_t address) {
  struct ifreq request = {0};
  memcpy(request.ifr_name, card, IFNAMSIZ);
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = address};
  memcpy(&request.ifr_addr, &where, sizeof where);
  if (ioctl(socket, what, &request) < 0) say("%s: %s", card, strerror(errno));
}

static void configure(int socket, const struct lease *lease) {
  set_address(socket, SIOCSIFADDR, lease->address);
  set_address(socket, SIOCSIFNETMASK, lease->mask);
  if (lease->router != 0) {
    struct sockaddr_in any = {.sin_family = AF_INET}, router = {.sin_family = AF_INET, .sin_addr.s_addr = lease->router};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = card};
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    memcpy(&route.rt_gateway, &router, sizeof router);
    if (ioctl(socket, SIOCADDRT, &route) < 0 && errno != EEXIST) say("the default route: %s", strerror(errno));
  }
  FILE *file = lease->dns_count == 0 ? NULL : fopen("/etc/resolv.conf", "we");
  for (int i = 0; file != NULL && i < lease->dns_count; i++) fprintf(file, "nameserver %s\n", inet_ntoa((struct in_addr){lease->dns[i]}));
  if (file != NULL) fclose(file);
}

/* Keeps the lease while the machine runs; a byte in `ready` when there is the first. */
static _Noreturn void keep_lease(int ready) {
  int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(68)};
  if (socket_ < 0 || !find_card(socket_)) _exit(0);
  setsockopt(socket_, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  setsockopt(socket_, SOL_SOCKET, SO_BINDTODEVICE, card, (socklen_t)strlen(card) + 1);
  if (bind(socket_, (struct sockaddr *)&here, sizeof here) < 0) _exit(1);
  struct lease lease;
  for (uint32_t before = 0;;) {
    if (!take_lease(socket_, &lease)) {
      sleep(1);
      continue;
    }
    if (lease.address != before) configure(socket_, &lease);
    if (before == 0 && write(ready, "", 1) < 0) say("dhcp: %s", strerror(errno));
    before = lease.address;
    uint32_t seconds = ntohl(lease.seconds);
    sleep(seconds == 0 || seconds > 86400 ? 43200 : seconds / 2 + 1);
  }
}

void start_dhcp(int seconds) {
  int pair[2];
  if (pipe(pair) < 0) return;
  pid_t pid = fork();
  if (pid == 0) {
    close(pair[0]);
    keep_lease(pair[1]);
  }
  close(pair[1]);
  struct pollfd ready = {.fd = pair[0], .events = POLLIN};
  if (poll(&ready, 1, seconds * 1000) <= 0) say("no address yet: starting without one");
  close(pair[0]);
}
