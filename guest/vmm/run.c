/* The life of a machine: network, QEMU, the agent's first requests, then streams and clients until the main process has ended. */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROOM 600
/* Descriptors that a turn polls for the machine itself: signals, the agent, what three say, QEMU's question, and its keeper. */
#define OWN 7
/* Frames to the agent beyond this make everybody who sends wait. */
#define LINK_BACKLOG (2u * 1024u * 1024u)
/* How long a machine in maintenance waits for somebody to ask it: who made it may be no more. */
#define LINGER_MS 15000
/* Ours on the port; clients' begin above. */
enum { MAIN = 1, SETUP = 0x7fffff00 };

/*
 * For a restored machine's first word, before it is booted instead: of its QEMU's processor time, some thirty times what it takes. Where
 * many start at once it waits long for that; booting them would take ten times as much, and all would wait for ever.
 */
#define RESTORED_CPU_MS 15000
/* One that waits and does nothing: */
#define RESTORED_MS 80000
#define LOOK_MS 1000

#define SETTLE_MS 3000

struct machine {
  struct fields spec;
  struct cards cards;
  struct bytes network;
  struct qemu qemu;
  bool restored, answered; /* from a template; the agent has said something */
  long long restored_at;   /* ms */
  struct shares shares;
  struct relay main;
  struct bytes in, link;
  struct words console, errors, share_errors;
  int signals;
  unsigned pending; /* requests before the main process's */
  bool maintenance, stop, saved;
  char run[80];
};

/* --- failures */

static const char share_daemon[] = "the daemon of its shares";

/* What the driver reads when the machine has gone: FIELDS kind=, message=. */
static void note_failure(struct machine *machine, const struct bytes *failure) {
  char path[128];
  switch_started(failure);
  snprintf(path, sizeof path, "%s/failure", machine->run);
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || write(file, bytes_front(failure), failure->length) < 0) fprintf(stderr, "berth-vmm: %s: %s\n", path, strerror(errno));
  if (file >= 0) close(file);
}

static void fail_setup(struct machine *machine, const struct frame *frame) {
  struct bytes failure = {0};
  struct fields fields = frame_fields(frame);
  bytes_append(&failure, frame->payload, frame->length);
  note_failure(machine, &failure);
  if (fields_check(fields) && field(fields, "message") != NULL) fprintf(stderr, "berth-vmm: the guest: %s\n", field(fields, "message"));
  bytes_free(&failure);
  machine->stop = true;
}

/* `who` (QEMU, the shares' daemon) has ended by itself. Its exit code for ours: as a shell says it when by a signal (the kernel's for
 * memory, say), else 125. */
static int mourn(struct machine *machine, const char *who, int status) {
  struct bytes failure = {0};
  struct words *all[] = {&machine->errors, &machine->console, &machine->share_errors};
  for (size_t i = 0; i < 3; i++) {
    struct pollfd fd = {.fd = all[i]->fd, .events = POLLIN};
    while (all[i]->fd >= 0 && poll(&fd, 1, 0) > 0 && fd.revents != 0) {
      words_read(all[i]);
      fd.fd = all[i]->fd;
    }
  }
  char how[64];
  if (WIFSIGNALED(status)) snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
  else snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
  fields_add(&failure, "kind", "machine");
  fields_add(&failure, "message", "the virtual machine ended unexpectedly: %s with %s", who, how);
  fields_add(&failure, "shares", "%.*s", (int)machine->share_errors.length, machine->share_errors.text);
  fields_add(&failure, "qemu", "%.*s", (int)machine->errors.length, machine->errors.text);
  fields_add(&failure, "console", "%.*s", (int)machine->console.length, machine->console.text);
  fprintf(stderr, "berth-vmm: the virtual machine ended unexpectedly: %s with %s\n", who, how);
  words_print("QEMU", &machine->errors);
  words_print(share_daemon, &machine->share_errors);
  words_print("the guest's console", &machine->console);
  note_failure(machine, &failure);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 125;
}

/* --- the agent's first requests */

void add_identity(struct bytes *configure) {
  struct timespec now;
  uint8_t random[64];
  char hex[129];
  clock_gettime(CLOCK_REALTIME, &now);
  fields_add(configure, "time", "%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) die(errno, "random bytes");
  for (size_t i = 0; i < sizeof random; i++) snprintf(hex + 2 * i, 3, "%02x", random[i]);
  fields_add(configure, "entropy", "%s", hex);
}

static void request(struct machine *machine, uint32_t channel, struct bytes *fields) {
  frame_put_fields(&machine->link, channel, FRAME_OPEN, fields);
}

static void send_identity(struct machine *machine) {
  struct bytes configure = request_of(machine->spec, "configure.", "configure");
  bytes_append(&configure, bytes_front(&machine->network), machine->network.length);
  add_identity(&configure);
  request(machine, SETUP + machine->pending++, &configure);
}

static void send_run(struct machine *machine) {
  if (machine->maintenance) return;
  struct bytes run = request_of(machine->spec, "run.", "run");
  if (machine->main.channel == 0) relay_begin(&machine->main, MAIN, (struct fields){(char *)bytes_front(&run), run.length});
  request(machine, MAIN, &run);
  relay_resize(&machine->main, &machine->link);
}

/* What a template is saved after. */
static void send_preparation(struct machine *machine) {
  static const char *const verbs[] = {"configure", "prepare", "sync"};
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s.", verbs[i]);
    struct bytes fields = request_of(machine->spec, prefix, verbs[i]);
    request(machine, SETUP + machine->pending++, &fields);
  }
}

/* All at once: the agent does them in their order, and one that fails makes the next fail. */
static void send_requests(struct machine *machine) {
  if (!machine->restored) {
    struct bytes mount = request_of(machine->spec, "mount.", "mount");
    if (field(machine->spec, "image") != NULL) fields_add(&mount, "image", "image");
    if (field(machine->spec, "scratch") != NULL) fields_add(&mount, "scratch", "scratch");
    request(machine, SETUP + machine->pending++, &mount);
  }
  if (field(machine->spec, "save") != NULL) return send_preparation(machine);
  send_identity(machine);
  send_run(machine);
}

/* The guest's kernel has killed for memory: the driver's to tell. */
static void note_oom(const struct machine *machine, const struct frame *frame) {
  struct fields fields = frame_fields(frame);
  char path[128];
  if (!fields_check(fields) || !field_flag(fields, "oom")) return;
  snprintf(path, sizeof path, "%s/oom", machine->run);
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) fprintf(stderr, "berth-vmm: %s: %s\n", path, strerror(errno));
  else close(file);
}

static void take_frame(struct machine *machine, const struct frame *frame) {
  machine->answered = true;
  if (frame->channel >= SETUP) {
    if (frame->type == FRAME_ERROR) fail_setup(machine, frame);
    if (frame->type == FRAME_CLOSED && --machine->pending == 0 && machine->maintenance) switch_started(NULL);
    return;
  }
  if (frame->channel != MAIN) return switch_frame(frame);
  if (frame->type == FRAME_STARTED) switch_started(NULL);
  if (frame->type == FRAME_EXIT) note_oom(machine, frame);
  if (frame->type == FRAME_ERROR && !machine->stop) {
    struct bytes failure = {0};
    bytes_append(&failure, frame->payload, frame->length);
    note_failure(machine, &failure);
    bytes_free(&failure);
  }
  if (!machine->stop) relay_frame(&machine->main, &machine->link, frame);
}

/* --- QEMU */

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static bool is_overdue(const struct machine *machine) {
  clockid_t clock;
  struct timespec used = {0};
  if (clock_getcpuclockid(machine->qemu.pid, &clock) == 0) clock_gettime(clock, &used);
  return used.tv_sec * 1000ll + used.tv_nsec / 1000000 >= RESTORED_CPU_MS || now_ms() >= machine->restored_at + RESTORED_MS;
}

static void start(struct machine *machine, bool restored) {
  machine->restored = restored;
  machine->answered = false;
  machine->restored_at = now_ms();
  machine->pending = 0;
  machine->qemu = start_qemu(machine->spec, restored, machine->cards.nics, machine->cards.count, machine->shares.connection);
  machine->console.fd = machine->qemu.console;
  machine->errors.fd = machine->qemu.errors;
  fcntl(machine->qemu.agent, F_SETFL, O_NONBLOCK);
}

/* The scratch disk belongs to the template's memory: without it, what was there before that. */
static void reset_scratch(const char *pristine, const char *scratch) {
  char buffer[65536];
  ssize_t got = 0;
  int from = open(pristine, O_RDONLY | O_CLOEXEC), to = open(scratch, O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (from < 0 || to < 0) die(errno, "%s anew from %s", scratch, pristine);
  while ((got = read(from, buffer, sizeof buffer)) > 0) {
    if (write(to, buffer, (size_t)got) != got) die(errno, "%s", scratch);
  }
  if (got < 0) die(errno, "%s", pristine);
  close(from);
  close(to);
}

/* For the engine: that the start did not go the way it was meant to. */
static void note(const struct machine *machine, const char *name, const char *why) {
  char path[128];
  const struct words *errors = &machine->errors;
  snprintf(path, sizeof path, "%s/%s", machine->run, name);
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || dprintf(file, "%s%s%.*s", why, errors->length > 0 ? ": " : "", (int)errors->length, errors->text) < 0)
    fprintf(stderr, "berth-vmm: %s: %s\n", path, strerror(errno));
  if (file >= 0) close(file);
}

/* A template that can't be used costs time, not the start: nothing has been said to the guest that counts yet. */
static void boot_instead(struct machine *machine, const char *why) {
  char path[128];
  if (field(machine->spec, "pristine") == NULL) die(0, "the template can't be restored: %s", why);
  if (machine->qemu.pid > 0) qemu_end(&machine->qemu, SIGKILL);
  while (machine->errors.fd >= 0) words_read(&machine->errors);
  note(machine, "template-failed", why);
  int ends[] = {machine->qemu.agent, machine->qemu.qmp, machine->console.fd};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    if (ends[i] >= 0) close(ends[i]);
  }
  guard_end();
  machine->errors.length = machine->console.length = 0;
  bytes_free(&machine->in);
  bytes_free(&machine->link);
  reset_scratch(field(machine->spec, "pristine"), field(machine->spec, "scratch"));
  /* The socket of the one that has gone. */
  snprintf(path, sizeof path, "%s/qmp.sock", machine->run);
  unlink(path);
  start(machine, false);
  send_requests(machine);
}

static void write_agent(struct machine *machine) {
  while (machine->link.length > 0) {
    ssize_t sent = write(machine->qemu.agent, bytes_front(&machine->link), machine->link.length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return; /* EAGAIN; or QEMU has ended, which its exit tells. */
    bytes_consume(&machine->link, (size_t)sent);
  }
}

/* A file's writeback mode is one of its opening: the one that waits has a disk whose flushes go nowhere, as of an instance with --rm. */
static bool let_flushes_through(const struct machine *machine) {
  char text[512];
  const char *cache = field(machine->spec, "scratch.cache"), *scratch = field(machine->spec, "scratch");
  if (scratch == NULL || (cache != NULL && strcmp(cache, "unsafe") == 0)) return true;
  snprintf(text, sizeof text,
           "{\"execute\":\"blockdev-reopen\",\"arguments\":{\"options\":[{\"driver\":\"file\",\"node-name\":\"scratch-file\","
           "\"filename\":\"%s\",\"locking\":\"off\",\"read-only\":false,\"cache\":{\"no-flush\":false}}]}}\n",
           scratch);
  return qmp_command(machine->qemu.qmp, text, -1);
}

/* Begins with a machine that waits; false when there is none, and one is to be restored. */
static bool adopt(struct machine *machine) {
  if (!adopt_qemu(field(machine->spec, "adopt"), &machine->qemu)) {
    note(machine, "adoption-failed", strerror(errno));
    reset_scratch(field(machine->spec, "fresh"), field(machine->spec, "scratch"));
    return false;
  }
  machine->restored = machine->answered = true;
  machine->console.fd = machine->qemu.console;
  machine->errors.fd = machine->qemu.errors;
  fcntl(machine->qemu.agent, F_SETFL, O_NONBLOCK);
  if (!let_flushes_through(machine)) die(0, "QEMU does not open its disk anew");
  qmp_send(machine->qemu.qmp, "{\"execute\":\"cont\"}\n");
  machine->cards.count = lay_out_nics(machine->spec, machine->cards.nics);
  size_t networks = read_network(machine->spec, machine->cards.interfaces, &machine->network);
  send_identity(machine);
  write_agent(machine);
  if (!await_taps(&machine->qemu)) die(errno, "its network devices did not come along");
  join_network(machine->spec, machine->cards.interfaces, networks);
  return true;
}

/* Begins with a machine that is restored or booted. */
static void make(struct machine *machine) {
  machine->cards.count = make_taps(machine->spec, machine->cards.nics);
  join_network(machine->spec, machine->cards.interfaces, read_network(machine->spec, machine->cards.interfaces, &machine->network));
  machine->shares = start_shares(machine->spec, machine->run);
  machine->share_errors.fd = machine->shares.errors;
  start(machine, field(machine->spec, "restore") != NULL);
}

/* --- the loop */

static void read_agent(struct machine *machine) {
  static uint8_t buffer[4 * FRAME_MAX];
  struct frame frame;
  ssize_t got = read(machine->qemu.agent, buffer, sizeof buffer);
  if (got <= 0) return;
  bytes_append(&machine->in, buffer, (size_t)got);
  enum frame_state state;
  while ((state = frame_peek(&machine->in, &frame)) == FRAME_WHOLE) {
    take_frame(machine, &frame);
    frame_done(&machine->in, &frame);
  }
  if (state == FRAME_BROKEN) {
    fprintf(stderr, "berth-vmm: the guest's agent talks nonsense\n");
    machine->stop = true;
  }
}

static void take_signals(struct machine *machine) {
  if (!machine->maintenance) return relay_signal(&machine->main, &machine->link, machine->signals);
  struct signalfd_siginfo info;
  while (read(machine->signals, &info, sizeof info) > 0) machine->stop |= info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
}

/* Until a restored machine has answered, nobody's input and no signal is taken: it may yet be booted, and they would be lost. */
static bool is_unsure(const struct machine *machine) { return machine->restored && !machine->answered; }

static void turn(struct machine *machine) {
  static struct pollfd fds[ROOM];
  bool unsure = is_unsure(machine), may_send = !unsure && machine->link.length < LINK_BACKLOG;
  fds[0] = (struct pollfd){.fd = unsure ? -1 : machine->signals, .events = POLLIN};
  fds[1] = (struct pollfd){.fd = machine->qemu.agent, .events = (short)(POLLIN | (machine->link.length > 0 ? POLLOUT : 0))};
  fds[2] = (struct pollfd){.fd = machine->console.fd, .events = POLLIN};
  fds[3] = (struct pollfd){.fd = machine->errors.fd, .events = POLLIN};
  fds[4] = (struct pollfd){.fd = machine->share_errors.fd, .events = POLLIN};
  fds[5] = (struct pollfd){.fd = guard_fd(), .events = POLLIN};
  fds[6] = (struct pollfd){.fd = machine->qemu.pid > 0 ? -1 : machine->qemu.life, .events = POLLIN};
  size_t relayed = relay_poll(&machine->main, fds + OWN, may_send);
  size_t count = OWN + relayed + switch_poll(fds + OWN + relayed, ROOM - OWN - relayed, may_send);
  bool is_idle = machine->maintenance && !switch_has_clients();
  int ready = poll(fds, count, unsure ? LOOK_MS : is_idle ? LINGER_MS : -1);
  if (ready < 0 && errno != EINTR) die(errno, "poll");
  if (ready == 0 && is_idle && !unsure) machine->stop = true;
  if (fds[0].revents) take_signals(machine);
  if (fds[1].revents & (POLLIN | POLLHUP)) read_agent(machine);
  if (fds[2].revents) words_read(&machine->console);
  if (fds[3].revents) words_read(&machine->errors);
  if (fds[4].revents) words_read(&machine->share_errors);
  if (fds[5].revents & POLLIN) guard_serve();
  else if (fds[5].revents) guard_end();
  relay_polled(&machine->main, &machine->link, fds + OWN, relayed);
  switch_polled(&machine->link, fds + OWN + relayed, count - OWN - relayed);
  write_agent(machine);
}

static bool is_done(const struct machine *machine) {
  if (machine->stop || machine->main.interrupted != 0) return true;
  if (field(machine->spec, "save") != NULL) return machine->pending == 0;
  return machine->main.over && relay_is_drained(&machine->main);
}

/* A scratch disk whose flushes go nowhere has to be closed; all others are whole once the agent has synced. */
static void end_qemu(struct machine *machine) {
  const char *cache = field(machine->spec, "scratch.cache");
  /* Its keeper kills it when we have ended. */
  if (machine->qemu.pid == 0 && field_flag(machine->spec, "discard")) return;
  bool close_disks = cache != NULL && strcmp(cache, "unsafe") == 0 && !field_flag(machine->spec, "discard");
  qemu_end(&machine->qemu, close_disks ? SIGTERM : SIGKILL);
}

/* Who reads or writes a share would wait for ever. But the daemon ends, too, because QEMU is about to. */
static int lose_shares(struct machine *machine, int status) {
  int of_qemu;
  for (int look = 0; look < 40; look++, poll(NULL, 0, 5)) {
    if (qemu_has_ended(&machine->qemu, &of_qemu)) return mourn(machine, "QEMU", of_qemu);
  }
  end_qemu(machine);
  return mourn(machine, share_daemon, status);
}

static int run_until_end(struct machine *machine) {
  int status;
  while (!is_done(machine)) {
    turn(machine);
    if (is_unsure(machine) && is_overdue(machine)) boot_instead(machine, "its agent did not answer");
    if (is_done(machine)) break;
    if (machine->shares.pid > 0 && waitpid(machine->shares.pid, &status, WNOHANG) == machine->shares.pid) return lose_shares(machine, status);
    if (!qemu_has_ended(&machine->qemu, &status)) continue;
    if (!is_unsure(machine)) return mourn(machine, "QEMU", status);
    machine->qemu.pid = 0;
    boot_instead(machine, "QEMU ended");
  }
  if (field(machine->spec, "save") != NULL && !machine->stop) {
    /* What its kernel puts off (the choice of a clock, above all) is not to be done in each clone. */
    poll(NULL, 0, SETTLE_MS);
    bool saved = qmp_save(machine->qemu.qmp, field(machine->spec, "save"));
    end_qemu(machine);
    return saved ? 0 : 125;
  }
  end_qemu(machine);
  if (machine->main.interrupted != 0) return 128 + machine->main.interrupted;
  return machine->stop ? (machine->maintenance ? 0 : 125) : machine->main.exit_code;
}

int run_machine(const char *spec_path) {
  static const unsigned rights[] = {CAP_NET_ADMIN};
  struct fields spec = read_spec(spec_path);
  struct machine machine = {.spec = spec,
                            .cards = {.spec = spec},
                            .signals = relay_signals(),
                            .shares = {.pid = -1, .connection = -1, .errors = -1},
                            .share_errors = {.fd = -1},
                            .main = {.fds = {-1, -1, -1}}};
  const char *run = field(machine.spec, "run");
  char socket_path[108];
  machine.maintenance = field_flag(machine.spec, "maintenance");
  if (snprintf(machine.run, sizeof machine.run, "%s", run == NULL ? "/berth/run" : run) >= (int)sizeof machine.run)
    die(0, "%s is too long for the directory of sockets", run);
  snprintf(socket_path, sizeof socket_path, "%s/agent.sock", machine.run);
  bool adopted = field(machine.spec, "adopt") != NULL && adopt(&machine);
  if (!adopted) make(&machine);
  /* Of its own network namespace, for networks that come later. */
  if (!keep_capabilities(rights, field_number(spec, "spare", 0) > 0 ? 1 : 0)) die(errno, "giving up capabilities");
  switch_listen(socket_path);
  switch_serve_cards(&machine.cards);
  const char *state = field(machine.spec, "restore");
  if (adopted) send_run(&machine);
  else if (state != NULL && !qmp_restore(machine.qemu.qmp, state)) boot_instead(&machine, "QEMU did not take its state");
  else send_requests(&machine);
  write_agent(&machine);
  int code = run_until_end(&machine);
  unlink(socket_path);
  return code;
}
