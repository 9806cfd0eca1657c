/* QEMU's command line and its start. The layout of devices is fixed: a template's state fits only the same one. */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* What differs from one kind of machine to another. */
static const struct {
  const char *program, *machine, *cpu_tcg, *console;
  /* Of the kernel's command line: what makes a boot quick on it. */
  const char *append;
  /* Likewise, with one processor: others are found by ACPI only. */
  const char *append_single;
} machine =
#if defined(__x86_64__)
    {"qemu-system-x86_64", "q35,smm=off,vmport=off,sata=off,smbus=off", "qemu64", "ttyS0",
     "no_timer_check 8250.nr_uarts=1 i8042.noaux i8042.nokbd i8042.noprobe noreplace-smp tsc=reliable pci=lastbus=0", "acpi=off"};
#elif defined(__aarch64__)
    {"qemu-system-aarch64", "virt,gic-version=max", "max", "ttyAMA0", "", ""};
#else
#error "no machine for this architecture"
#endif

static const char *const common_append =
    "quiet reboot=t panic=-1 cryptomgr.notests=1 mitigations=off lsm= apparmor=0 audit=0 random.trust_cpu=on";

struct line {
  const char *words[256];
  size_t count;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...) {
  char *word;
  va_list arguments;
  va_start(arguments, format);
  if (line->count == 255 || vasprintf(&word, format, arguments) < 0) die(0, "the command line of QEMU is too long");
  va_end(arguments);
  line->words[line->count++] = word;
}

/* A flag with its value. */
#define OPTION(line, flag, ...) (add(line, "%s", flag), add(line, __VA_ARGS__))

static const char *value_or(struct fields spec, const char *name, const char *otherwise) {
  const char *value = field(spec, name);
  return value == NULL ? otherwise : value;
}

static void add_machine(struct line *line, struct fields spec, bool restored) {
  bool kvm = strcmp(value_or(spec, "accel", "tcg"), "kvm") == 0;
  long long memory = field_number(spec, "memory", 256);
  const char *ram = restored || field(spec, "save") != NULL ? field(spec, "ram") : NULL;
  bool shared = field_flag(spec, "ram.share") || field(spec, "shares") != NULL;
  OPTION(line, "-M", "%s,memory-backend=ram0,accel=%s", machine.machine, kvm ? "kvm" : "tcg");
  OPTION(line, "-cpu", "%s", kvm ? "host" : machine.cpu_tcg);
  OPTION(line, "-m", "%lld", memory);
  OPTION(line, "-smp", "%lld", field_number(spec, "cpus", 1));
  if (ram == NULL)
    OPTION(line, "-object", "memory-backend-%s,id=ram0,size=%lldM%s", shared ? "memfd" : "ram", memory,
           shared ? ",share=on" : "");
  else
    OPTION(line, "-object", "memory-backend-file,id=ram0,size=%lldM,mem-path=%s,share=%s", memory, ram,
           field_flag(spec, "ram.share") ? "on" : "off");
}

static void add_kernel(struct line *line, struct fields spec, bool restored) {
  if (restored) {
    OPTION(line, "-incoming", "defer");
    return;
  }
  OPTION(line, "-kernel", "%s", value_or(spec, "kernel", "/berth/kernel"));
  OPTION(line, "-initrd", "%s", value_or(spec, "initrd", "/berth/initrd"));
  OPTION(line, "-append", "console=%s %s %s %s %s", machine.console, common_append, machine.append,
         field_number(spec, "cpus", 1) == 1 ? machine.append_single : "", value_or(spec, "append", ""));
}

static void add_disk(struct line *line, const char *file, const char *format, const char *serial, const char *cache, bool writable, int slot) {
  /* Of the file alone: what a guest flushes still leaves QEMU. */
  const char *cache_words = strcmp(cache, "unsafe") == 0 ? ",cache.no-flush=on" : "";
  OPTION(line, "-blockdev", "driver=file,node-name=%s-file,filename=%s,locking=off,read-only=%s%s", serial, file, writable ? "off" : "on", cache_words);
  OPTION(line, "-blockdev", "driver=%s,node-name=%s,file=%s-file,read-only=%s,discard=unmap", format, serial, serial, writable ? "off" : "on");
  OPTION(line, "-device", "virtio-blk-pci,drive=%s,serial=%s,addr=0x%x", serial, serial, slot);
}

static void add_devices(struct line *line, struct fields spec, const struct nic *nics, size_t nic_count, int shares) {
  const char *image = field(spec, "image"), *scratch = field(spec, "scratch");
  OPTION(line, "-device", "virtio-serial-pci,addr=0x3");
  OPTION(line, "-device", "virtserialport,chardev=agent,name=" AGENT_PORT);
  OPTION(line, "-device", "virtio-rng-pci,addr=0x4");
  OPTION(line, "-device", "virtio-balloon-pci,addr=0x5");
  if (image != NULL) add_disk(line, image, "raw", "image", "writeback", false, 6);
  if (scratch != NULL)
    add_disk(line, scratch, value_or(spec, "scratch.format", "qcow2"), "scratch", value_or(spec, "scratch.cache", "writeback"), true, 7);
  for (size_t i = 0; i < nic_count; i++) {
    OPTION(line, "-netdev", "tap,id=n%zu,fd=%d", i, nics[i].tap);
    OPTION(line, "-device", "virtio-net-pci,netdev=n%zu,romfile=,mac=%s,addr=0x%x", i, nics[i].mac, nics[i].slot);
  }
  if (shares >= 0) {
    OPTION(line, "-chardev", "socket,id=shares,fd=%d", shares);
    OPTION(line, "-device", "vhost-user-fs-pci,chardev=shares,tag=shares,addr=0x10");
  }
}

static void add_channels(struct line *line, struct fields spec, const int ends[3]) {
  OPTION(line, "-chardev", "socket,id=agent,fd=%d", ends[0]);
  OPTION(line, "-chardev", "socket,id=console,fd=%d", ends[1]);
  OPTION(line, "-serial", "chardev:console");
  OPTION(line, "-chardev", "socket,id=control,fd=%d", ends[2]);
  OPTION(line, "-mon", "chardev=control,mode=control");
  OPTION(line, "-chardev", "socket,id=qmp,path=%s/qmp.sock,server=on,wait=off", value_or(spec, "run", "/berth/run"));
  OPTION(line, "-mon", "chardev=qmp,mode=control");
}

static void add_extra(struct line *line, struct fields spec) {
  for (const char *value = NULL; (value = field_next(spec, "device", value)) != NULL;) {
    const char *end = strchr(value, '\n');
    if (end == NULL) die(0, "device=%s: no line's end after the flag", value);
    OPTION(line, strndup(value, (size_t)(end - value)), "%s", end + 1);
  }
}

/* The rest of its life is QEMU's: without capabilities, and dead with its parent. */
_Noreturn static void become_qemu(const struct line *line, int errors, int guard) {
  sigset_t none;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(errors, 1);
  dup2(errors, 2);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (guard >= 0) guard_enter(guard);
  if (keep_capabilities(NULL, 0)) execvp(line->words[0], (char **)line->words);
  fprintf(stderr, "%s: %s\n", line->words[0], strerror(errno));
  _exit(127);
}

struct qemu start_qemu(struct fields spec, bool restored, const struct nic *nics, size_t nic_count, int shares) {
  struct line line = {0};
  int ours[3], theirs[3], errors[2], guard[2] = {-1, -1};
  for (int i = 0; i < 3; i++) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die(errno, "a socket pair");
    ours[i] = pair[0];
    theirs[i] = pair[1];
    fcntl(theirs[i], F_SETFD, 0);
  }
  for (size_t i = 0; i < nic_count; i++) fcntl(nics[i].tap, F_SETFD, 0);
  if (shares >= 0) fcntl(shares, F_SETFD, 0);
  if (pipe2(errors, O_CLOEXEC) < 0) die(errno, "a pipe");
  if (restored && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, guard) < 0) die(errno, "a socket pair");
  add(&line, "%s", value_or(spec, "qemu", machine.program));
  for (const char *const *word = (const char *const[]){"-nodefaults", "-no-user-config", "-no-reboot", NULL}; *word != NULL; word++)
    add(&line, "%s", *word);
  OPTION(&line, "-display", "none");
  OPTION(&line, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
  add_machine(&line, spec, restored);
  add_kernel(&line, spec, restored);
  add_channels(&line, spec, theirs);
  add_devices(&line, spec, nics, nic_count, shares);
  add_extra(&line, spec);
  pid_t pid = fork();
  if (pid < 0) die(errno, "fork");
  if (pid == 0) become_qemu(&line, errors[1], guard[1]);
  for (int i = 0; i < 3; i++) close(theirs[i]);
  for (size_t i = 0; i < nic_count; i++) fcntl(nics[i].tap, F_SETFD, FD_CLOEXEC);
  if (shares >= 0) close(shares);
  close(errors[1]);
  if (restored) {
    close(guard[1]);
    guard_begin(guard[0], field(spec, "ram"));
    close(guard[0]);
  }
  return (struct qemu){.pid = pid, .agent = ours[0], .console = ours[1], .qmp = ours[2], .errors = errors[0]};
}
