/* "user[:group]" against the files of a root file system, as Docker does it. No NSS: a guest's files are all there is. */
#ifndef BERTH_USER_H
#define BERTH_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define USER_GROUPS 256

struct user {
  uid_t uid;
  gid_t gid;
  gid_t groups[USER_GROUPS];
  size_t group_count;
  char home[256];
};

/*
 * `spec` is "", "name", "uid", "name:group", "uid:gid", ...; `passwd` and `group` are paths, which may be missing. Without a group in
 * `spec` the user's group is that of his entry (0 when he has none), and he is in the groups that list him.
 * False: `unknown` says who ("user x", "group y").
 */
bool find_user(const char *spec, const char *passwd, const char *group, struct user *user, char unknown[128]);
/* Adds the group of a name or number. */
bool add_group(const char *name, const char *group, struct user *user, char unknown[128]);

#endif
