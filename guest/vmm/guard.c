/*
 * A clone's memory is a private mapping of the template's file: what a guest writes is its own. QEMU opens that file for reading and
 * writing all the same (up to 8.1 there is no way to ask otherwise), which a file that nobody may write to refuses. So that one call is
 * answered here, with a descriptor that can only read: seccomp_unotify(2). A QEMU that its guest has taken over can't change the template.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int notifications = -1;
static const char *guarded;

void guard_enter(int road) {
  /* openat(2) with O_RDWR asks; all else goes on as ever. */
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, O_ACCMODE),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, O_RDWR, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (fd < 0) fprintf(stderr, "berth-vmm: guarding the template: %s\n", strerror(errno));
  else send_with_fds(road, "", 1, &fd, 1);
}

void guard_begin(int road, const char *path) {
  char byte;
  guarded = path;
  /* Without it QEMU is refused the file, and says so. */
  receive_with_fds(road, &byte, 1, &notifications, 1);
}

int guard_fd(void) { return notifications; }

static bool asks_for_it(const struct seccomp_notif *asked) {
  char path[64], wanted[256] = "";
  snprintf(path, sizeof path, "/proc/%u/mem", asked->pid);
  int memory = open(path, O_RDONLY | O_CLOEXEC);
  if (memory < 0) return false;
  ssize_t got = pread(memory, wanted, sizeof wanted - 1, (off_t)asked->data.args[1]);
  close(memory);
  /* The process may have gone meanwhile, and its number be another's. */
  return got > 0 && strcmp(wanted, guarded) == 0 && ioctl(notifications, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked->id) == 0;
}

void guard_serve(void) {
  struct seccomp_notif asked = {0};
  if (ioctl(notifications, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) return;
  struct seccomp_notif_resp answer = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  if (asks_for_it(&asked)) {
    int file = open(guarded, O_RDONLY | O_CLOEXEC);
    struct seccomp_notif_addfd given = {.id = asked.id, .srcfd = (uint32_t)file, .newfd_flags = O_CLOEXEC};
    int theirs = file < 0 ? -1 : ioctl(notifications, SECCOMP_IOCTL_NOTIF_ADDFD, &given);
    answer = (struct seccomp_notif_resp){.id = asked.id, .val = theirs, .error = theirs < 0 ? -errno : 0};
    if (file >= 0) close(file);
  }
  ioctl(notifications, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

void guard_end(void) {
  if (notifications >= 0) close(notifications);
  notifications = -1;
}
