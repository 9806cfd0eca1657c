/*
 * A whole-OS machine. QEMU's line is the engine's; what it can't have from there is made here: taps in this network namespace, and a
 * monitor of our own. The serial console is our terminal, which QEMU gets as it is.
 *
 * SIGTERM and SIGINT press the power button. Our end is the guest's power-off (0) or what QEMU died of.
 * SPEC: run=, net=, net.join= as run's (see spec.c), and
 *   arg=      a word of QEMU's line, the program first; repeats. {tap0}, {tap1}, ... are the descriptors of the taps of net=, in their order,
 *             {control} that of our monitor; one to a word
 *   helper=   a command that QEMU needs (swtpm), its words separated by newlines; ends with us; repeats
 *   wait=     a socket of a helper's, to be there before QEMU is started; repeats
 * run/vmm.sock is there once QEMU has answered, and takes requests of one line:
 *   nic INTERFACE ID   an interface that has come into this namespace becomes QEMU's network back-end ID ("ok", or "error REASON")
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define HELPERS 4
#define HELPER_WAIT_MS 10000
#define REQUEST_MAX 256

struct whole {
  struct fields spec;
  const char *run;
  pid_t qemu;
  pid_t helpers[HELPERS];
  size_t helper_count, nic_count;
  struct words errors;
  int control, signals, listener;
};

/* --- starting */

static void path_in(const struct whole *machine, const char *name, char *path, size_t room) {
  if (snprintf(path, room, "%s/%s", machine->run, name) >= (int)room) die(0, "%s is too long for the directory of sockets", machine->run);
}

/* Without capabilities, and dead with us. */
static void become_unprivileged(void) {
  sigset_t none;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (!keep_capabilities(NULL, 0)) die(errno, "giving capabilities away");
}

static void start_helper(struct whole *machine, const char *command, int errors) {
  char *words[64];
  size_t count = 0;
  if (machine->helper_count == HELPERS) die(0, "more than %d helpers", HELPERS);
  char *text = strdup(command);
  for (char *word = strtok(text, "\n"); word != NULL && count < 63; word = strtok(NULL, "\n")) words[count++] = word;
  words[count] = NULL;
  if (count == 0) die(0, "a helper without a program");
  pid_t pid = fork();
  if (pid < 0) die(errno, "fork");
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(errors, 1);
    dup2(errors, 2);
    setsid();
    become_unprivileged();
    execvp(words[0], words);
    fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
    _exit(127);
  }
  machine->helpers[machine->helper_count++] = pid;
  free(text);
}

static void wait_for(struct whole *machine, const char *path) {
  for (int waited = 0; access(path, F_OK) < 0; waited += 5) {
    bool all_run = true;
    for (size_t i = 0; i < machine->helper_count; i++) all_run &= waitpid(machine->helpers[i], NULL, WNOHANG) == 0;
    struct pollfd fd = {.fd = machine->errors.fd, .events = POLLIN};
    if (poll(&fd, 1, 0) > 0) words_read(&machine->errors);
    if (!all_run || waited > HELPER_WAIT_MS) {
      words_print("what QEMU needs", &machine->errors);
      die(0, "%s: what QEMU needs did not start", path);
    }
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
}

/* A word of the line with the descriptor that it asks for, which QEMU then inherits. */
static char *fill_in(const char *word, const struct nic *nics, size_t nic_count, int control) {
  char *filled, name[16];
  for (size_t i = 0; i <= nic_count; i++) {
    snprintf(name, sizeof name, i == nic_count ? "{control}" : "{tap%u}", (unsigned)i % 100);
    const char *at = strstr(word, name);
    if (at == NULL) continue;
    int fd = i == nic_count ? control : nics[i].tap;
    fcntl(fd, F_SETFD, 0);
    if (asprintf(&filled, "%.*s%d%s", (int)(at - word), word, fd, at + strlen(name)) < 0) abort();
    return filled;
  }
  return strdup(word);
}

static void start(struct whole *machine) {
  struct nic nics[CARDS];
  struct bytes unused = {0};
  char *words[512];
  size_t count = 0;
  int pair[2], errors[2];
  machine->nic_count = make_taps(machine->spec, nics);
  struct interface interfaces[NICS];
  join_network(machine->spec, interfaces, read_network(machine->spec, interfaces, &unused));
  if (pipe2(errors, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die(errno, "a pipe");
  machine->errors.fd = errors[0];
  for (const char *value = NULL; (value = field_next(machine->spec, "helper", value)) != NULL;) start_helper(machine, value, errors[1]);
  for (const char *value = NULL; (value = field_next(machine->spec, "wait", value)) != NULL;) wait_for(machine, value);
  for (const char *value = NULL; (value = field_next(machine->spec, "arg", value)) != NULL;) {
    if (count == 511) die(0, "the command line of QEMU is too long");
    words[count++] = fill_in(value, nics, machine->nic_count, pair[1]);
  }
  words[count] = NULL;
  if (count == 0) die(0, "no command line for QEMU");
  machine->qemu = fork();
  if (machine->qemu < 0) die(errno, "fork");
  if (machine->qemu == 0) {
    /* The terminal stays its stdin and stdout; the signals of keys are not for it. */
    setsid();
    dup2(errors[1], 2);
    become_unprivileged();
    execvp(words[0], words);
    fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
    _exit(127);
  }
  for (size_t i = 0; i < machine->nic_count; i++) close(nics[i].tap);
  close(pair[1]);
  close(errors[1]);
  machine->control = pair[0];
}

static void listen_on(struct whole *machine) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char path[sizeof address.sun_path];
  path_in(machine, "vmm.sock", path, sizeof path);
  path_in(machine, "vmm.sock.new", address.sun_path, sizeof address.sun_path);
  unlink(address.sun_path);
  machine->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (machine->listener < 0 || bind(machine->listener, (struct sockaddr *)&address, sizeof address) < 0 || chmod(address.sun_path, 0600) < 0 ||
      listen(machine->listener, 16) < 0 || rename(address.sun_path, path) < 0)
    die(errno, "%s", path);
}

/* --- the end */

/* QEMU has ended. A guest's power-off is no failure; else the driver reads why: FIELDS kind=, message=, qemu=. */
static int mourn(struct whole *machine, int status) {
  struct bytes failure = {0};
  char how[64], path[128];
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  for (struct pollfd fd = {.fd = machine->errors.fd, .events = POLLIN}; machine->errors.fd >= 0 && poll(&fd, 1, 0) > 0 && fd.revents != 0;)
    words_read(&machine->errors);
  if (WIFSIGNALED(status)) snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
  else snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
  fields_add(&failure, "kind", "machine");
  fields_add(&failure, "message", "the virtual machine ended unexpectedly: QEMU with %s", how);
  fields_add(&failure, "qemu", "%.*s", (int)machine->errors.length, machine->errors.text);
  path_in(machine, "failure", path, sizeof path);
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || write(file, bytes_front(&failure), failure.length) < 0) fprintf(stderr, "berth-vmm: %s: %s\n", path, strerror(errno));
  fprintf(stderr, "\r\nberth-vmm: the virtual machine ended unexpectedly: QEMU with %s\r\n", how);
  words_print("QEMU", &machine->errors);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 125;
}

/* --- requests */

static void join_nic(struct whole *machine, const char *request, char *answer, size_t room) {
  char interface[16], id[32], field_text[32], command[160];
  if (sscanf(request, "nic %15s %31[a-z0-9-]", interface, id) != 2) {
    snprintf(answer, room, "error unknown request\n");
    return;
  }
  int tap = join_later(interface, machine->nic_count, field(machine->spec, "net.join"), answer, room);
  if (tap < 0) return;
  machine->nic_count++;
  snprintf(field_text, sizeof field_text, "fd-%.24s", id);
  snprintf(command, sizeof command, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"%s\"}}\n", field_text);
  bool done = qmp_command(machine->control, command, tap);
  snprintf(command, sizeof command, "{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"tap\",\"id\":\"%s\",\"fd\":\"%s\"}}\n", id, field_text);
  done = done && qmp_command(machine->control, command, -1);
  close(tap);
  snprintf(answer, room, done ? "ok\n" : "error QEMU did not take the interface\n");
}

static void serve(struct whole *machine) {
  char request[REQUEST_MAX], answer[REQUEST_MAX];
  size_t length = 0;
  int client = accept4(machine->listener, NULL, NULL, SOCK_CLOEXEC);
  if (client < 0) return;
  /* The engine's, which sends a line at once; whoever does not is not waited for. */
  struct timeval patience = {.tv_sec = 2};
  setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (length + 1 < sizeof request && memchr(request, '\n', length) == NULL) {
    ssize_t got = read(client, request + length, sizeof request - 1 - length);
    if (got <= 0) break;
    length += (size_t)got;
  }
  request[length] = 0;
  join_nic(machine, request, answer, sizeof answer);
  if (write(client, answer, strlen(answer)) < 0) fprintf(stderr, "berth-vmm: %s\r\n", strerror(errno));
  close(client);
}

/* --- the loop */

static void take_signals(struct whole *machine) {
  struct signalfd_siginfo info;
  while (read(machine->signals, &info, sizeof info) == (ssize_t)sizeof info) {
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) qmp_send(machine->control, "{\"execute\":\"system_powerdown\"}\n");
  }
}

static void turn(struct whole *machine) {
  char ignored[4096];
  struct pollfd fds[4] = {{.fd = machine->signals, .events = POLLIN},
                          {.fd = machine->control, .events = POLLIN},
                          {.fd = machine->errors.fd, .events = POLLIN},
                          {.fd = machine->listener, .events = POLLIN}};
  if (poll(fds, 4, -1) < 0 && errno != EINTR) die(errno, "poll");
  if (fds[0].revents) take_signals(machine);
  /* Events and answers that nobody waits for. At its end QEMU's comes, too. */
  if (fds[1].revents && recv(machine->control, ignored, sizeof ignored, MSG_DONTWAIT) == 0) machine->control = -1;
  if (fds[2].revents) words_read(&machine->errors);
  if (fds[3].revents && machine->control >= 0) serve(machine);
}

/* A guest's console ends its lines with both already; QEMU, which has the terminal by now, leaves that to the terminal as well. */
static void leave_lines_alone(void) {
  struct termios terminal;
  if (tcgetattr(0, &terminal) < 0) return;
  terminal.c_oflag &= ~(tcflag_t)OPOST;
  tcsetattr(0, TCSANOW, &terminal);
}

int run_whole_machine(const char *spec_path) {
  struct whole machine = {.spec = read_spec(spec_path), .signals = relay_signals(), .listener = -1, .control = -1};
  int status = 0;
  machine.run = field(machine.spec, "run");
  if (machine.run == NULL) machine.run = "/berth/run";
  start(&machine);
  if (qmp_begin(machine.control)) {
    leave_lines_alone();
    listen_on(&machine);
  }
  while (waitpid(machine.qemu, &status, WNOHANG) != machine.qemu) turn(&machine);
  return mourn(&machine, status);
}
