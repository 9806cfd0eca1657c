/* The last of a child before its program: limits, user, directory, capabilities, environment. */
#define _GNU_SOURCE
#include "agent.h"
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
  const char *name;
  int resource;
} limits[] = {{"as", RLIMIT_AS},           {"core", RLIMIT_CORE},     {"cpu", RLIMIT_CPU},           {"data", RLIMIT_DATA},
              {"fsize", RLIMIT_FSIZE},     {"locks", RLIMIT_LOCKS},   {"memlock", RLIMIT_MEMLOCK},   {"msgqueue", RLIMIT_MSGQUEUE},
              {"nice", RLIMIT_NICE},       {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
              {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME}, {"sigpending", RLIMIT_SIGPENDING}, {"stack", RLIMIT_STACK}};

static rlim_t limit_of(long long value) { return value < 0 ? RLIM_INFINITY : (rlim_t)value; }

static bool set_limits(struct fields fields, struct failure *failure) {
  for (const char *text = NULL; (text = field_next(fields, "rlimit", text)) != NULL;) {
    char name[32];
    long long soft, hard;
    bool known = false;
    if (sscanf(text, "%31s %lld %lld", name, &soft, &hard) != 3) return fail(failure, "invalid", 0, "rlimit %.60s", text);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
      if (strcmp(limits[i].name, name) != 0) continue;
      struct rlimit limit = {limit_of(soft), limit_of(hard)};
      known = true;
      if (setrlimit((unsigned)limits[i].resource, &limit) < 0) return fail(failure, "system", errno, "limit %s", name);
    }
    if (!known) return fail(failure, "invalid", 0, "there is no limit %s", name);
  }
  const char *score = field(fields, "oom");
  if (score != NULL) {
    FILE *file = fopen("/proc/self/oom_score_adj", "we");
    if (file != NULL) {
      fputs(score, file);
      fclose(file);
    }
  }
  return true;
}

static bool make_directories(const char *path) {
  char part[4096];
  for (size_t i = 1; path[i - 1] != 0 && i < sizeof part; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    memcpy(part, path, i);
    part[i] = 0;
    if (mkdir(part, 0755) < 0 && errno != EEXIST) return false;
  }
  return true;
}

static bool enter_directory(const struct spawn_request *request, struct failure *failure) {
  const char *path = field(request->fields, "cwd");
  if (path == NULL || *path == 0) path = "/";
  if (request->main && !make_directories(path)) return fail(failure, "no-directory", errno, "making the working directory %.150s", path);
  return chdir(path) == 0 ? true : fail(failure, "no-directory", errno, "the working directory %.150s", path);
}

static bool become(struct fields fields, const struct user *user, struct failure *failure) {
  const char *mask = field(fields, "capabilities");
  uint64_t capabilities = mask == NULL ? ~0ull : strtoull(mask, NULL, 16);
  for (unsigned c = 0; c < 64; c++) {
    if (!(capabilities >> c & 1) && prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1) prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
  }
  if (setgroups(user->group_count, user->groups) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
      setresuid(user->uid, user->uid, user->uid) < 0)
    return fail(failure, "system", errno, "becoming user %u:%u", (unsigned)user->uid, (unsigned)user->gid);
  if (field_flag(fields, "nonewprivileges")) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return true;
}

/* "user x", "group y" */
static bool fail_unknown(const char *unknown, struct failure *failure) {
  return fail(failure, "no-user", 0, "unable to find %s: no matching entries in %s file", unknown, unknown[0] == 'u' ? "passwd" : "group");
}

static bool choose_user(struct fields fields, struct user *user, struct failure *failure) {
  char unknown[128];
  const char *spec = field(fields, "user");
  if (!find_user(spec == NULL ? "" : spec, "/etc/passwd", "/etc/group", user, unknown))
    return fail_unknown(unknown, failure);
  for (const char *name = NULL; (name = field_next(fields, "group", name)) != NULL;) {
    if (!add_group(name, "/etc/group", user, unknown))
      return fail_unknown(unknown, failure);
  }
  return true;
}

static char **list(struct fields fields, const char *name, size_t extra) {
  char **values = calloc(field_count(fields, name) + extra + 1, sizeof *values);
  size_t count = 0;
  if (values == NULL) abort();
  for (const char *value = NULL; (value = field_next(fields, name, value)) != NULL;) values[count++] = strdup(value);
  return values;
}

static void set_environment(struct fields fields, const struct user *user) {
  static char home[300];
  char **values = list(fields, "env", 1);
  size_t count = 0;
  bool has_home = false;
  for (; values[count] != NULL; count++) has_home |= strncmp(values[count], "HOME=", 5) == 0;
  snprintf(home, sizeof home, "HOME=%s", user->home);
  if (!has_home) values[count] = home;
  environ = values;
  if (getenv("PATH") == NULL) setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
}

bool run_program(const struct spawn_request *request, struct failure *failure) {
  struct user user;
  if (!set_limits(request->fields, failure) || !choose_user(request->fields, &user, failure)) return false;
  if (!enter_directory(request, failure) || !become(request->fields, &user, failure)) return false;
  set_environment(request->fields, &user);
  if (request->main && field_flag(request->fields, "init") && !become_init(failure)) return false;
  char **argv = list(request->fields, "arg", 0);
  execvp(argv[0], argv);
  /* The name is one that nobody has, to be looked for as all are. */
  if (field_flag(request->fields, "rehearsal")) execl("/proc/self/exe", "init", "--rehearse", NULL);
  const char *kind = errno == ENOENT || errno == ENOTDIR ? "not-found" : "not-executable";
  return fail(failure, kind, errno, "exec: %.150s: %s", argv[0], strerror(errno));
}
