/* berth-vmm: the one process of a virtual machine's jail. Starts QEMU, carries the main process's streams, serves the agent to others. */
#ifndef BERTH_VMM_H
#define BERTH_VMM_H

#include "../common/frame.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

/* Prints "berth-vmm: ..." with errno's text when it is not 0, and ends with 125, as a runtime that failed. */
__attribute__((format(printf, 2, 3))) _Noreturn void die(int error, const char *format, ...);

/* --- spec.c: a file of FIELDS */
struct fields read_spec(const char *path);
/* The fields `<prefix>name=value` with the prefix taken off, after verb=<verb>. */
struct bytes request_of(struct fields spec, const char *prefix, const char *verb);

/* --- fds.c: bytes with descriptors, over a unix socket */
bool send_with_fds(int to, const void *data, size_t length, const int *fds, size_t count);
/* How many bytes came, as recv(2) says it; descriptors that did not come are -1. */
ssize_t receive_with_fds(int from, void *data, size_t room, int *fds, size_t count);

/* --- network.c: what the jail's network namespace has, for the guest */
#define NICS 8
/* A machine has some cards more than networks, without a cable: see cards.c. */
#define SPARE_NICS 4
#define CARDS (NICS + SPARE_NICS)
struct nic {
  int tap; /* with its virtio-net header */
  unsigned slot; /* on the bus */
  char mac[18];
};
/* QEMU's cards, one for each net= of the specification and as many as spare= says: all but their taps. */
size_t lay_out_nics(struct fields spec, struct nic *nics);
/* The same with their taps, in this network namespace. */
size_t make_taps(struct fields spec, struct nic *nics);
/* Gives those from the first on to another namespace; false with errno. */
bool move_taps(size_t first, size_t count, int namespace);
struct interface {
  char name[16];
  int index; /* 0: the guest's device has no interface here */
  uint8_t mac[6];
  uint32_t mtu;
  struct bytes *configure;
};
/* Those that the specification names, as many as its taps; adds link=, address= and route= to `configure`. */
size_t read_network(struct fields spec, struct interface *interfaces, struct bytes *configure);
/* Joins each with its tap. */
void join_network(struct fields spec, struct interface *interfaces, size_t count);
/* The same for one more interface, of which nothing is read: its tap; or -1, and why not in `problem`. */
int join_later(const char *name, size_t nth, const char *how, char *problem, size_t room);
/* The same with the tap of that number, which is there, or about to be. */
bool join_spare(const char *name, size_t nth, const char *how, char *problem, size_t room);
/* Adds `<field>=<place> <name> <mac> <mtu>`, and address= and route=; false with errno. */
bool describe_interface(struct interface *interface, const char *field, size_t place);

/* --- cards.c: networks that come and go while the machine runs */
struct cards {
  struct fields spec;
  size_t count;
  struct nic nics[CARDS];
  struct interface interfaces[CARDS]; /* each card's */
};
/* Of what a client asks by verb=cards, makes what the agent is to be asked; false with a reason. */
bool change_cards(struct cards *cards, struct fields request, struct bytes *configure, char *problem, size_t room);

/* --- shares.c: files of the host for the guest, by a daemon of its own */
struct shares {
  pid_t pid; /* -1: there are none */
  int connection; /* QEMU's end */
  int errors;
};
/* `run` is a directory for its socket, whose name goes at once. */
struct shares start_shares(struct fields spec, const char *run);
/* Of this process's capabilities, those stay; none can come back by execve(2) once there is no_new_privs. */
bool keep_capabilities(const unsigned *kept, size_t count);

/* --- qemu.c */
struct qemu {
  pid_t pid; /* 0: it was adopted, */
  int life;  /* and this is the connection to its keeper */
  int agent, console, qmp, errors; /* our ends */
};
/* With `restored`, to take a template's state; else to boot a kernel. Takes the end of the shares. */
struct qemu start_qemu(struct fields spec, bool restored, const struct nic *nics, size_t nic_count, int shares);

/* --- adopt.c: QEMU as somebody else's child, and what both kinds have in common */
/* Takes over the one that waits behind the socket; false with errno. */
bool adopt_qemu(const char *path, struct qemu *qemu);
/* Until its taps are in this network namespace; false with errno. */
bool await_taps(const struct qemu *qemu);
/* Whether it has, and then how, as waitpid(2) says it; once. */
bool qemu_has_ended(const struct qemu *qemu, int *status);
/* Sends the signal, and waits for its end. */
void qemu_end(const struct qemu *qemu, int signal);

/* --- guard.c: QEMU opens the file of a template's memory for writing, and gets it for reading only */
/* In the child, before exec: hands the kernel's notifications over on `road`. */
void guard_enter(int road);
/* In the parent: takes them from `road`, for the file `path`. */
void guard_begin(int road, const char *path);
/* To be polled for input; -1 when there is no guard. */
int guard_fd(void);
/* Answers one. */
void guard_serve(void);
void guard_end(void);

/* --- words.c: the last of what the console and QEMU itself said */
struct words {
  int fd;
  char text[4096];
  size_t length;
};
void words_read(struct words *words);
void words_print(const char *whose, const struct words *words);

/* --- qmp.c: each waits for what QEMU answers */
bool qmp_begin(int qmp);
/* Sends a command, with a file descriptor when it is not -1. */
bool qmp_command(int qmp, const char *text, int fd);
/* Sends one whose answer nobody waits for. */
void qmp_send(int qmp, const char *text);
bool qmp_restore(int qmp, const char *state);
bool qmp_save(int qmp, const char *state);

/* --- relay.c: the streams of a process in the guest are ours */
struct relay {
  uint32_t channel;
  bool tty, wants_stdin, over, failed;
  bool started;    /* The process runs. */
  int interrupted; /* By this signal, or the terminal's key for it, before that: nobody else can take it. */
  int exit_code;
  int fds[3];
  uint32_t may_send;
  bool input_ended;
  struct bytes output[3];
  bool output_ended[3];
};
/* Blocks the signals that are passed on; their signalfd. Before any other file descriptor's flags are changed. */
int relay_signals(void);
void relay_begin(struct relay *relay, uint32_t channel, struct fields process);
size_t relay_poll(struct relay *relay, struct pollfd *fds, bool may_send);
void relay_polled(struct relay *relay, struct bytes *link, const struct pollfd *fds, size_t count);
void relay_frame(struct relay *relay, struct bytes *link, const struct frame *frame);
/* Passes on what `signals` has. */
void relay_signal(struct relay *relay, struct bytes *link, int signals);
void relay_resize(struct relay *relay, struct bytes *link);
/* All that came has been written. */
bool relay_is_drained(const struct relay *relay);

/* --- switch.c: clients on run/agent.sock */
void switch_listen(const char *path);
size_t switch_poll(struct pollfd *fds, size_t room, bool may_send);
void switch_polled(struct bytes *link, const struct pollfd *fds, size_t count);
bool switch_has_clients(void);
/* Whose cards a client's verb=cards is about; until then it is refused. */
void switch_serve_cards(struct cards *cards);
/* A frame of the agent's for somebody else than the main process. */
void switch_frame(const struct frame *frame);
/* The main process runs (fields NULL), or why it does not. */
void switch_started(const struct bytes *failure);

/* --- run.c, keep.c, machine.c, exec.c */
int run_machine(const char *spec_path);
int run_keeper(const char *spec_path);
/* time= and entropy= of now. */
void add_identity(struct bytes *configure);
int run_whole_machine(const char *spec_path);
int run_exec(const char *socket_path, const char *spec_path);

#endif
