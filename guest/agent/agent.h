/* The agent: PID 1 of a guest. One thread, one poll loop; what may block is done in a forked child. */
#ifndef BERTH_AGENT_H
#define BERTH_AGENT_H

#include "../common/frame.h"

#include <stdbool.h>
#include <sys/types.h>

/* Where the workload's root file system is mounted, in the agent's own mount namespace. */
#define ROOT "/root"
/* The same, without what is mounted over it. */
#define BARE "/run/bare"
/* What it consists of: the image, and what the workload has changed. */
#define IMAGE "/run/image"
#define UPPER "/run/scratch/upper"

/* What a verb without a process failed with. `kind` NULL: it did not. */
struct failure {
  const char *kind;
  int error; /* errno, or 0 */
  char message[256];
};
/* Fills it and returns false, for `return fail(...)`. */
__attribute__((format(printf, 4, 5))) bool fail(struct failure *failure, const char *kind, int error, const char *format, ...);

/* --- modules.c: loads what a list names, each once. */
void load_modules(const char *list);

/* --- port.c: the virtio-serial port, opened without blocking; waits for it to appear. -1: there is none. */
int open_port(void);

/* --- root.c */
bool mount_root(struct fields fields, struct failure *failure);
bool root_is_mounted(void);
bool root_is_read_only(void);
/* In the main process's own mount namespace: /proc, read-only and masked paths, and the root as "/". */
bool enter_root_as_main(struct fields fields, struct failure *failure);
/* What was written is on the scratch disk. */
void sync_root(void);
bool freeze_root(bool freeze, struct failure *failure);

/* --- os-root.c: finds the root of the operating system on a disk ("/dev/vda"), and mounts it at IMAGE */
bool mount_os_root(const char *disk, struct failure *failure);

/* --- workload.c: the control group of all processes that are not the agent's own. Without one (a test) nothing happens. */
void make_workload_group(void);
/* In a child: joins it, in a namespace whose root it is. */
void join_workload_group(void);
/* In the main process's own mount namespace: /sys/fs/cgroup. */
void mount_workload_group(bool writable);
/* By `memory` and `pids`, where they are told; 0: without a limit. */
bool limit_workload(struct fields fields, struct failure *failure);
/* Bytes, without what the kernel would give up first; -1: not known. */
long long memory_of_workload(void);
/* Stops all its processes, or lets them go on. */
void freeze_workload(bool freeze);
/* In a child: waits until they have stopped; not for ever, one may be in the kernel. */
void await_frozen_workload(void);
/* Processes that the kernel has killed for memory since it booted. */
long long oom_kills(void);

/* --- configure.c */
bool configure(struct fields fields, struct failure *failure);

/* --- mounts.c: fields of `configure`, each a mount over the workload's root */
bool mount_share(const char *value, struct failure *failure);
bool mount_tmpfs(const char *value, struct failure *failure);
bool write_file(const char *value, struct failure *failure);

/* --- network.c */
bool configure_network(struct fields fields, struct failure *failure);
/* All that configure_network does to each device, for nobody; and leaves it up, with no address, for the first link= to find so. */
bool prepare_network(struct failure *failure);
/* Gives the device its name, MAC and MTU, and takes it up. */
bool take_device(int socket, unsigned index, const char *name, const uint8_t mac[6], unsigned mtu, struct failure *failure);
/* "<place> <name> <mac> <mtu>" */
bool parse_device(const char *text, unsigned *place, char name[16], uint8_t mac[6], unsigned *mtu);

/* --- cards.c: network cards by their slots on the bus */
/* Before any driver is there: those to spare are not to be set up at each boot. */
void set_spare_cards_aside(void);
/* With cards=1: exactly those of card= are the guest's. */
bool set_cards(int socket, struct fields fields, struct failure *failure);

/* --- resolver.c: the name server of a guest on several networks */
bool serve_names(const char *value, struct failure *failure);

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
  /* What a job has for "/": NULL for what the main process has (its mounts too), "/" for the agent's own. */
  const char *root;
};
bool spawn(const struct spawn_request *request, struct spawned *spawned, struct failure *failure);
/* Before a template is saved: a process that has the main one's namespaces, mounts and streams, and waits for its program. */
bool prepare_main(struct fields fields, struct failure *failure);
/* Something was mounted that it does not see. */
void spoil_waiting_main(void);

/* --- program.c */
/* Where it is called, in its namespaces and with its streams; returns when it can't be run. */
bool run_program(const struct spawn_request *request, struct failure *failure);

/* --- rehearse.c: what is run in place of the workload, as `init --rehearse` */
int rehearse(void);

/* --- init.c */
/*
 * In the main process: it becomes an init, and never returns; its child, the program to be, returns true.
 */
bool become_init(struct failure *failure);

/* Namespaces of the main process, for those beside it; after its end there are none. */
void keep_namespaces(pid_t pid);
void drop_namespaces(void);

/* --- sessions.c: channels with a process */
void session_open(struct bytes *link, uint32_t channel, const struct spawn_request *request);
bool session_frame(struct bytes *link, const struct frame *frame);
void session_reaped(struct bytes *link, pid_t pid, int status);
bool main_is_there(void);
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

/* --- tar-pack.c, tar-unpack.c, changes.c, stat.c: jobs */
int pack_job(struct fields fields);
int layer_job(struct fields fields);
int changes_job(struct fields fields);
int unpack_job(struct fields fields);
/* Marks of overlayfs in an upper directory: a removed name, and a directory that hides the image's. */
struct stat;
bool is_whiteout(const struct stat *file);
bool is_opaque(const char *path);
bool describe_path(struct fields fields, struct bytes *reply, struct failure *failure);

#endif
