/*
 * Files of the host for the guest. One virtiofsd serves the tree of binds that the jail has for it; it and QEMU get the two ends of one
 * connection, and nobody else can make another.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* What root in a container may do to files, but make devices; and what the daemon shuts itself in with, and then gives up. */
static const unsigned rights[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,     CAP_FSETID, CAP_SETGID,
                                  CAP_SETUID, CAP_SETFCAP,      CAP_SYS_CHROOT, CAP_SETPCAP};

bool keep_capabilities(const unsigned *kept, size_t count) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct had[2] = {0}, data[2] = {0};
  if (syscall(SYS_capget, &header, had) < 0) return false;
  for (size_t i = 0; i < count; i++) data[kept[i] / 32].permitted |= had[kept[i] / 32].permitted & 1u << kept[i] % 32;
  for (int i = 0; i < 2; i++) data[i].effective = data[i].permitted;
  return syscall(SYS_capset, &header, data) == 0;
}

/* A listening socket with one connection waiting, and that connection. Its name has gone when this returns. */
static void make_connection(const char *run, int *listener, int *connection) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/shares.sock", run);
  unlink(address.sun_path);
  *listener = socket(AF_UNIX, SOCK_STREAM, 0);
  *connection = socket(AF_UNIX, SOCK_STREAM, 0);
  if (*listener < 0 || *connection < 0 || bind(*listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(*listener, 1) < 0 ||
      connect(*connection, (struct sockaddr *)&address, sizeof address) < 0)
    die(errno, "%s", address.sun_path);
  unlink(address.sun_path);
}

_Noreturn static void become_daemon(char **words, int listener, int errors) {
  sigset_t none;
  struct rlimit files;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  /* It keeps a file open for everything that the guest's kernel remembers. */
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(errors, 1);
  dup2(errors, 2);
  if (listener != 3) dup2(listener, 3);
  syscall(SYS_close_range, 4, ~0u, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (!keep_capabilities(rights, sizeof rights / sizeof *rights)) fprintf(stderr, "capabilities: %s\n", strerror(errno));
  else execv(words[0], words);
  fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
  _exit(127);
}

struct shares start_shares(struct fields spec, const char *run) {
  size_t count = field_count(spec, "shares");
  if (count == 0) return (struct shares){.pid = -1, .connection = -1, .errors = -1};
  char **words = calloc(count + 2, sizeof *words);
  int errors[2], listener, connection;
  size_t at = 0;
  if (words == NULL) abort();
  for (const char *word = NULL; (word = field_next(spec, "shares", word)) != NULL;) words[at++] = strdup(word);
  words[at] = "--fd=3";
  make_connection(run, &listener, &connection);
  if (pipe2(errors, O_CLOEXEC) < 0) die(errno, "a pipe");
  pid_t pid = fork();
  if (pid < 0) die(errno, "fork");
  if (pid == 0) become_daemon(words, listener, errors[1]);
  close(listener);
  close(errors[1]);
  for (size_t i = 0; i < at; i++) free(words[i]);
  free(words);
  return (struct shares){.pid = pid, .connection = connection, .errors = errors[0]};
}
