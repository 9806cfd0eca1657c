/* The agent: PID 1 of a guest. One thread, one poll loop; what may block is done in a forked child. */
#ifndef BERTH_AGENT_H
#define BERTH_AGENT_H

#include "../common/frame.h"

#include <stdbool.h>
#include <sys/types.h>

/* Where the workload's root file system is mounted, in the agent's own mount namespace. */
#define ROOT "/root"

/* What a verb without a process failed with. `kind` NULL: it did not. */
struct failure {
  const char *kind;
  int error; /* errno, or 0 */
  char message[256];
};
/* Fills it and returns false, for `return fail(...)`. */
__attribute__((format(printf, 4, 5))) bool fail(struct failure *failure, const char *kind, int error, const char *format, ...);

/* --- modules.c: loads what /modules/order names, each once. */
void load_modules(void);

/* --- port.c: the virtio-serial port, opened without blocking; waits for it to appear. -1: there is none. */
int open_port(void);

/* --- root.c */
bool mount_root(struct fields fields, struct failure *failure);
bool root_is_mounted(void);
/* In the main process's own mount namespace: /proc, read-only and masked paths, and the root as "/". */
bool enter_root_as_main(struct fields fields, struct failure *failure);
/* What was written is on the scratch disk. */
void sync_root(void);
bool freeze_root(bool freeze, struct failure *failure);

/* --- configure.c */
bool configure(struct fields fields, struct failure *failure);

/* --- network.c */
bool configure_network(struct fields fields, struct failure *failure);

/* --- spawn.c */
struct spawned {
  pid_t pid;
  int status; /* read end: EOF when the program runs, a struct failure when it does not */
  int in, out, err; /* our ends, -1 for none; of a terminal `in` is its master, and `out` a copy */
};
struct spawn_request {
  struct fields fields;
  bool main;
  /* Runs in the child in place of a program, with the streams at 0, 1 and 2; returns the exit code. */
  int (*job)(struct fields fields);
};
bool spawn(const struct spawn_request *request, struct spawned *spawned, struct failure *failure);
/* Namespaces of the main process, for those beside it; after its end there are none. */
void keep_namespaces(pid_t pid);
void drop_namespaces(void);

/* --- sessions.c: channels with a process */
void session_open(struct bytes *link, uint32_t channel, const struct spawn_request *request);
bool session_frame(struct bytes *link, const struct frame *frame);
void session_reaped(struct bytes *link, pid_t pid, int status);
bool main_is_running(void);
pid_t main_pid(void);
struct pollfd;
size_t sessions_poll(struct pollfd *fds, size_t room, bool may_send);
void sessions_polled(struct bytes *link, const struct pollfd *fds, size_t count);
void sessions_kill_all(void);

/* --- verbs.c: OPEN, by its verb */
void open_channel(struct bytes *link, const struct frame *frame);
void reply_error(struct bytes *link, uint32_t channel, const struct failure *failure);

/* --- machine.c */
void describe_machine(struct bytes *reply);
void describe_processes(struct bytes *reply);
void power_off(void);

/* --- tar-pack.c, tar-unpack.c, stat.c: jobs */
int pack_job(struct fields fields);
int unpack_job(struct fields fields);
bool describe_path(struct fields fields, struct bytes *reply, struct failure *failure);

#endif
