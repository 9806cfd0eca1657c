#define _GNU_SOURCE
#include "user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number as a whole, 0 to 2^31-1. */
static bool number_of(const char *text, unsigned *number) {
  char *end;
  if (*text < '0' || *text > '9') return false;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (*end != 0 || errno != 0 || value > 0x7fffffff) return false;
  *number = (unsigned)value;
  return true;
}

/* Splits a line of passwd or group at its colons; missing fields are "". */
static void split(char *line, char *fields[7]) {
  line[strcspn(line, "\n")] = 0;
  for (int i = 0; i < 7; i++) {
    fields[i] = line;
    char *colon = strchr(line, ':');
    if (colon != NULL && i < 6) {
      *colon = 0;
      line = colon + 1;
    } else {
      line += strlen(line);
    }
  }
}

static bool lists(const char *members, const char *name) {
  size_t length = strlen(name);
  for (const char *at = members; *at;) {
    size_t member = strcspn(at, ",");
    if (member == length && strncmp(at, name, length) == 0) return true;
    at += member + (at[member] == ',');
  }
  return false;
}

static bool find_in_passwd(const char *path, const char *who, struct user *user, char name[64]) {
  unsigned uid, gid, wanted = 0;
  bool numeric = number_of(who, &wanted), found = false;
  FILE *file = fopen(path, "re");
  char *line = NULL;
  size_t room = 0;
  while (file != NULL && !found && getline(&line, &room, file) >= 0) {
    char *fields[7];
    split(line, fields);
    if (!number_of(fields[2], &uid) || !number_of(fields[3], &gid)) continue;
    if (strcmp(fields[0], who) != 0 && !(numeric && uid == wanted)) continue;
    user->uid = uid;
    user->gid = gid;
    snprintf(user->home, sizeof user->home, "%s", fields[5]);
    snprintf(name, 64, "%s", fields[0]);
    found = true;
  }
  free(line);
  if (file != NULL) fclose(file);
  return found;
}

static bool find_in_group(const char *path, const char *which, gid_t *gid) {
  unsigned found_gid, wanted = 0;
  bool numeric = number_of(which, &wanted), found = false;
  FILE *file = fopen(path, "re");
  char *line = NULL;
  size_t room = 0;
  while (file != NULL && !found && getline(&line, &room, file) >= 0) {
    char *fields[7];
    split(line, fields);
    if (!number_of(fields[2], &found_gid)) continue;
    found = strcmp(fields[0], which) == 0 || (numeric && found_gid == wanted);
    if (found) *gid = found_gid;
  }
  free(line);
  if (file != NULL) fclose(file);
  if (!found && numeric) *gid = wanted;
  return found || numeric;
}

static void add_gid(struct user *user, gid_t gid) {
  for (size_t i = 0; i < user->group_count; i++) {
    if (user->groups[i] == gid) return;
  }
  if (user->group_count < USER_GROUPS) user->groups[user->group_count++] = gid;
}

static void add_memberships(const char *path, const char *name, struct user *user) {
  FILE *file = fopen(path, "re");
  char *line = NULL;
  size_t room = 0;
  unsigned gid;
  while (file != NULL && getline(&line, &room, file) >= 0) {
    char *fields[7];
    split(line, fields);
    if (number_of(fields[2], &gid) && lists(fields[3], name)) add_gid(user, gid);
  }
  free(line);
  if (file != NULL) fclose(file);
}

bool find_user(const char *spec, const char *passwd, const char *group, struct user *user, char unknown[128]) {
  char who[64], name[64] = "";
  const char *colon = strchr(spec, ':');
  const char *group_spec = colon == NULL ? "" : colon + 1;
  snprintf(who, sizeof who, "%.*s", (int)(colon == NULL ? (ptrdiff_t)strlen(spec) : colon - spec), spec);
  if (who[0] == 0) strcpy(who, "0");
  *user = (struct user){.home = "/"};
  unsigned uid;
  if (!find_in_passwd(passwd, who, user, name)) {
    if (!number_of(who, &uid)) return snprintf(unknown, 128, "user %s", who), false;
    user->uid = uid;
  }
  if (user->home[0] == 0) strcpy(user->home, "/");
  if (group_spec[0] != 0) {
    if (!find_in_group(group, group_spec, &user->gid)) return snprintf(unknown, 128, "group %.100s", group_spec), false;
  } else if (name[0] != 0) {
    add_memberships(group, name, user);
  }
  return true;
}

bool add_group(const char *name, const char *group, struct user *user, char unknown[128]) {
  gid_t gid;
  if (!find_in_group(group, name, &gid)) return snprintf(unknown, 128, "group %.100s", name), false;
  add_gid(user, gid);
  return true;
}
