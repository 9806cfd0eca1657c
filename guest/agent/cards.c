/*
 * Network cards that the machine has from its start, by their slots on the bus. Those to spare, from slot 0x18 on, have no driver until a
 * network comes that needs one: a boot does not wait for them. One whose network goes loses its driver, and with it its device.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BUS "/sys/bus/pci"
#define SLOTS 32
#define FIRST_SPARE 0x18
#define LAST_SPARE 0x1b

static void name_card(char name[16], unsigned slot) { snprintf(name, 16, "0000:00:%02x.0", slot % SLOTS); }

static bool write_to(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  bool done = file >= 0 && write(file, text, strlen(text)) >= 0;
  int error = errno;
  if (file >= 0) close(file);
  errno = error;
  return done;
}

static bool override_driver(unsigned slot, const char *driver) {
  char card[16], path[80];
  name_card(card, slot);
  snprintf(path, sizeof path, BUS "/devices/%s/driver_override", card);
  return write_to(path, driver);
}

void set_spare_cards_aside(void) {
  for (unsigned slot = FIRST_SPARE; slot <= LAST_SPARE; slot++) override_driver(slot, "none"); /* Where there is one. */
}

/* The number of the network device that the card is; 0: it has no driver. */
static unsigned device_of(unsigned slot) {
  char card[16], path[400];
  unsigned index = 0;
  name_card(card, slot);
  snprintf(path, sizeof path, BUS "/devices/%s", card);
  DIR *functions = opendir(path);
  for (struct dirent *entry; index == 0 && functions != NULL && (entry = readdir(functions)) != NULL;) {
    if (strncmp(entry->d_name, "virtio", 6) != 0) continue;
    snprintf(path, sizeof path, BUS "/devices/%s/%.64s/net", card, entry->d_name);
    DIR *devices = opendir(path);
    for (struct dirent *device; index == 0 && devices != NULL && (device = readdir(devices)) != NULL;) index = if_nametoindex(device->d_name);
    if (devices != NULL) closedir(devices);
  }
  if (functions != NULL) closedir(functions);
  return index;
}

static bool let_go(unsigned slot, struct failure *failure) {
  char card[16], path[80];
  name_card(card, slot);
  snprintf(path, sizeof path, BUS "/devices/%s/driver/unbind", card);
  return write_to(path, card) ? true : fail(failure, "system", errno, "letting go of the network card %s", card);
}

static bool take(int socket, const char *text, struct failure *failure) {
  unsigned slot, mtu;
  char name[16], card[16];
  uint8_t mac[6];
  if (!parse_device(text, &slot, name, mac, &mtu)) return fail(failure, "invalid", 0, "card=%.80s", text);
  name_card(card, slot);
  /* A newline is none. */
  if (device_of(slot) == 0 && (!override_driver(slot, "\n") || !write_to(BUS "/drivers_probe", card)))
    return fail(failure, "system", errno, "the network card %s", card);
  unsigned index = device_of(slot);
  if (index == 0) return fail(failure, "system", ENODEV, "the network card %s", card);
  return take_device(socket, index, name, mac, mtu, failure);
}

static bool is_told(struct fields fields, unsigned slot) {
  for (const char *text = NULL; (text = field_next(fields, "card", text)) != NULL;) {
    unsigned told;
    if (sscanf(text, "%u", &told) == 1 && told == slot) return true;
  }
  return false;
}

bool set_cards(int socket, struct fields fields, struct failure *failure) {
  if (!field_flag(fields, "cards")) return true;
  for (unsigned slot = 0; slot < SLOTS; slot++) {
    if (!is_told(fields, slot) && device_of(slot) != 0 && !let_go(slot, failure)) return false;
  }
  for (const char *text = NULL; (text = field_next(fields, "card", text)) != NULL;) {
    if (!take(socket, text, failure)) return false;
  }
  return true;
}
