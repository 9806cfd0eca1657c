/*
 * What `berth-vmm run` is told, FIELDS in a file:
 *   qemu=            program; "qemu-system-x86_64" on PATH when absent
 *   accel=           tcg (when absent) or kvm
 *   memory= cpus=    MiB, and how many
 *   kernel= initrd=  append= (more of the command line)
 *   image= scratch=  disk files: the read-only raw one, serial "image", and the writable one, serial "scratch"
 *                    scratch.format= qcow2 (when absent) or raw; scratch.cache= writeback (when absent) or unsafe
 *   discard=1        what is in QEMU at the end may be lost: it was synced, or nobody wants it
 *   run=             directory for agent.sock, qmp.sock, failure
 *   net=             an interface of this network namespace that becomes the guest's; repeats. A tap without one: net=-
 *   spare=           cards beyond those, for networks that come while it runs (cards.c); berth-vmm keeps its NET_ADMIN with any
 *   net.join=        tc (when absent) or bridge
 *   shares=          a word of the command line of the daemon that serves files of the host (virtiofsd) from the jail; repeats. It is
 *                    told its socket beside. The guest finds it by the tag "shares"; its memory is shared with the daemon
 *   device=          one more QEMU -device/-chardev/... as "-flag\nvalue"; repeats
 *   ram=             file of the guest's memory; with ram.share=1 it is written to (a template's), else changes are private
 *   save=            boots, mounts, configures, prepares, saves the machine's state to this file, ends: a template with ram=
 *   restore=         a template's state: no kernel is booted and nothing mounted; where that fails, the machine is booted after all, with
 *   pristine=        the scratch disk as it was before the template's, and "template-failed" in run= says why
 *   adopt=           the socket of a keeper (see adopt.c) whose machine is taken over, instead of restore=; where that fails, the machine is
 *   fresh=           restored after all, with the scratch disk as the template's is, and "adoption-failed" in run= says why
 *   maintenance=1    no main process: serves its socket until SIGTERM, or until nobody has been connected for 15 seconds
 *   mount.* configure.* prepare.* run.*   fields of the agent's verbs, with that prefix
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct fields read_spec(const char *path) {
  struct bytes text = {0};
  char buffer[16384];
  ssize_t got;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) die(errno, "%s", path);
  while ((got = read(file, buffer, sizeof buffer)) > 0) bytes_append(&text, buffer, (size_t)got);
  if (got < 0) die(errno, "%s", path);
  close(file);
  struct fields fields = {(char *)bytes_front(&text), text.length};
  if (!fields_check(fields)) die(0, "%s: not name=value strings that each end with a NUL byte", path);
  return fields;
}

struct bytes request_of(struct fields spec, const char *prefix, const char *verb) {
  struct bytes request = {0};
  size_t length = strlen(prefix);
  fields_add(&request, "verb", "%s", verb);
  for (const char *at = spec.data; at < spec.data + spec.length; at += strlen(at) + 1) {
    if (strncmp(at, prefix, length) == 0) bytes_append(&request, at + length, strlen(at + length) + 1);
  }
  return request;
}
