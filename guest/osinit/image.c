/*
 * The init of an image that has none. /usr/lib/berth/image says what to run, in fields as in protocol.h: arg=…, env=…, user=…, cwd=…,
 * stop=<signal>. The machine is switched off when the command ends; the power button, or SIGTERM from inside, ask it to.
 */
#define _GNU_SOURCE
#include "../agent/user.h"
#include "../common/fields.h"
#include "osinit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/input.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESCRIPTION "/usr/lib/berth/image"
#define STOP_MS 10000
#define BUTTONS 4
#define WORDS 1024

static void mount_all(void) {
  mount(NULL, "/", NULL, MS_REMOUNT, NULL);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
  mkdir("/dev/pts", 0755);
  mkdir("/dev/shm", 01777);
  mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666");
  mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  if (symlink("/proc/self/fd", "/dev/fd") < 0 && errno != EEXIST) say("/dev/fd: %s", strerror(errno));
}

static void name_machine(void) {
  char name[65] = "localhost";
  FILE *file = fopen("/etc/hostname", "re");
  if (file != NULL && fscanf(file, "%64s", name) != 1) snprintf(name, sizeof name, "localhost");
  if (file != NULL) fclose(file);
  if (sethostname(name, strlen(name)) < 0) say("the host name: %s", strerror(errno));
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK};
  if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request) < 0) say("lo: %s", strerror(errno));
  if (any >= 0) close(any);
}

static struct fields read_description(void) {
  static char text[256 * 1024];
  int file = open(DESCRIPTION, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, text, sizeof text);
  if (file >= 0) close(file);
  struct fields fields = {.data = text, .length = length < 0 ? 0 : (size_t)length};
  if (length <= 0 || !fields_check(fields) || field(fields, "arg") == NULL) {
    say("%s does not say what to run", DESCRIPTION);
    switch_off();
  }
  return fields;
}

static char **words_of(struct fields fields, const char *name) {
  static char *room[2][WORDS + 1];
  static int used;
  char **words = room[used++];
  size_t count = 0;
  for (const char *value = NULL; count < WORDS && (value = field_next(fields, name, value)) != NULL;) words[count++] = (char *)value;
  words[count] = NULL;
  return words;
}

static _Noreturn void run_command(struct fields fields) {
  struct user user;
  char unknown[128];
  const char *who = field(fields, "user"), *where = field(fields, "cwd");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  ioctl(0, TIOCSCTTY, 0);
  char **arguments = words_of(fields, "arg"), **variables = words_of(fields, "env");
  clearenv();
  for (char **variable = variables; *variable != NULL; variable++) putenv(*variable);
  if (!find_user(who == NULL ? "" : who, "/etc/passwd", "/etc/group", &user, unknown)) {
    say("there is no %s in the image", unknown);
    _exit(126);
  }
  setenv("HOME", user.home, 0);
  setenv("TERM", "linux", 0);
  if (where != NULL && where[0] != 0 && chdir(where) < 0) {
    say("%s: %s", where, strerror(errno));
    _exit(126);
  }
  if (fchown(0, user.uid, (gid_t)-1) < 0 || setgroups(user.group_count, user.groups) < 0 || setgid(user.gid) < 0 || setuid(user.uid) < 0) {
    say("becoming %s: %s", who == NULL ? "root" : who, strerror(errno));
    _exit(126);
  }
  execvp(arguments[0], arguments);
  say("%s: %s", arguments[0], strerror(errno));
  _exit(127);
}

static size_t open_buttons(struct pollfd *fds) {
  size_t count = 0;
  for (int nth = 0; nth < 8 && count < BUTTONS; nth++) {
    char path[32];
    snprintf(path, sizeof path, "/dev/input/event%d", nth);
    int device = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (device >= 0) fds[count++] = (struct pollfd){.fd = device, .events = POLLIN};
  }
  return count;
}

static bool is_power_button(int device) {
  struct input_event event;
  bool pressed = false;
  while (read(device, &event, sizeof event) == (ssize_t)sizeof event) {
    if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) pressed = true;
  }
  return pressed;
}

/* Waits for the command's end, or for the wish that it should end; its status. */
static int attend(pid_t command, int signals, int stop_signal) {
  struct pollfd fds[1 + BUTTONS] = {{.fd = signals, .events = POLLIN}};
  size_t count = 1 + open_buttons(fds + 1);
  int patience = -1;
  for (;;) {
    int events = poll(fds, count, patience);
    bool asked = false;
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) > 0) {
      if (info.ssi_signo != SIGCHLD) asked = true;
    }
    int status;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended == command) return status;
    }
    for (size_t i = 1; i < count; i++) {
      if (fds[i].revents & POLLIN && is_power_button(fds[i].fd)) asked = true;
    }
    if (events == 0 && patience > 0) kill(command, SIGKILL);
    if (asked && patience < 0) {
      kill(command, stop_signal);
      patience = STOP_MS;
    }
  }
}

void run_image(void) {
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  sigaddset(&awaited, SIGINT);
  sigprocmask(SIG_BLOCK, &awaited, NULL);
  umask(022);
  mount_all();
  grow_root();
  name_machine();
  start_dhcp(15);
  struct fields fields = read_description();
  int signals = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
  pid_t command = fork();
  if (command == 0) run_command(fields);
  int status = attend(command, signals, (int)field_number(fields, "stop", SIGTERM));
  if (WIFEXITED(status)) say("the command ended with exit code %d", WEXITSTATUS(status));
  else say("the command was ended by signal %d", WTERMSIG(status));
  kill(-1, SIGTERM);
  usleep(200000);
  kill(-1, SIGKILL);
  sync();
  mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
  switch_off();
}
