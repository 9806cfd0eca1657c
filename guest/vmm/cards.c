/*
 * Networks that come and go while the machine runs. QEMU has its cards from the start (a hot-plugged one would need a port of its own, which
 * every boot would find and set up): those of its networks, and some to spare, which the guest's kernel has never looked at. A network that comes
 * takes a card that is free, and one that goes leaves its card free.
 *
 *   verb=cards   net=<interface of this namespace>, repeats: the networks that there are to be from now on; and fields of `configure`, which
 *                the agent is asked to do with them
 *
 * All of them are told each time: what was missed, whoever has died in between, is made good by the next request.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static bool is_wanted(struct fields request, const struct interface *interface) {
  for (const char *name = NULL; (name = field_next(request, "net", name)) != NULL;) {
    if (strcmp(name, interface->name) == 0) return (int)if_nametoindex(name) == interface->index;
  }
  return false;
}

/* One that has its name from before may be another one by now. */
static void let_go(struct cards *cards, struct fields request) {
  for (size_t i = 0; i < cards->count; i++) {
    if (!is_wanted(request, &cards->interfaces[i])) cards->interfaces[i] = (struct interface){0};
  }
}

static bool has_card(const struct cards *cards, const char *name) {
  for (size_t i = 0; i < cards->count; i++) {
    if (cards->interfaces[i].index != 0 && strcmp(cards->interfaces[i].name, name) == 0) return true;
  }
  return false;
}

static bool take_card(struct cards *cards, const char *name, char *problem, size_t room) {
  size_t i = 0;
  while (i < cards->count && cards->interfaces[i].index != 0) i++;
  if (i == cards->count) {
    snprintf(problem, room, "all %zu network cards of the machine are in use", cards->count);
    return false;
  }
  if (!join_spare(name, i, field(cards->spec, "net.join"), problem, room)) return false;
  cards->interfaces[i].index = (int)if_nametoindex(name);
  snprintf(cards->interfaces[i].name, sizeof cards->interfaces[i].name, "%s", name);
  return true;
}

/* All of them: a default route may have moved from one to another. */
static bool describe(struct cards *cards, struct bytes *configure, char *problem, size_t room) {
  fields_add(configure, "cards", "1");
  for (size_t i = 0; i < cards->count; i++) {
    struct interface *interface = &cards->interfaces[i];
    interface->configure = configure;
    if (interface->index == 0 || describe_interface(interface, "card", cards->nics[i].slot)) continue;
    snprintf(problem, room, "reading %s: %s", interface->name, strerror(errno));
    return false;
  }
  return true;
}

bool change_cards(struct cards *cards, struct fields request, struct bytes *configure, char *problem, size_t room) {
  let_go(cards, request);
  for (const char *name = NULL; (name = field_next(request, "net", name)) != NULL;) {
    if (!has_card(cards, name) && !take_card(cards, name, problem, room)) return false;
  }
  fields_add(configure, "verb", "configure");
  if (!describe(cards, configure, problem, room)) return false;
  for (const char *at = request.data; at < request.data + request.length; at += strlen(at) + 1) {
    if (strncmp(at, "verb=", 5) != 0 && strncmp(at, "net=", 4) != 0) bytes_append(configure, at, strlen(at) + 1);
  }
  return true;
}
