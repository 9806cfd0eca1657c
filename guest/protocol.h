/*
 * What berth-vmm, the agent in the guest and the engine say to each other.
 *
 * One stream of frames, the same on both roads:
 *   - the virtio-serial port `org.berth.agent.0`, between berth-vmm and the agent (PID 1 of the guest);
 *   - the unix stream socket `run/agent.sock`, between berth-vmm and any number of clients (the engine, `berth-vmm exec`).
 * berth-vmm is a switch: a client numbers its channels as it likes (1 and up), berth-vmm gives each a number of its own on the port
 * and passes frames on with the number translated. So a client sees the agent as if it were alone with it.
 *
 * A frame is a header of 12 bytes, little endian, and `length` bytes of payload.
 *
 * A channel is one request. The client opens it with OPEN; the agent ends it with CLOSED, always and exactly once, also after ERROR;
 * until then the number is taken. Frames for a channel that is not open are dropped (they crossed with its CLOSED).
 *
 *   client                             agent
 *   OPEN verb=exec arg=ls tty=0 ... ->
 *                                   <- STARTED pid=7                (or ERROR, CLOSED)
 *   CREDIT stream=0 ...             <> DATA stream=1 ..., CREDIT stream=0 ...
 *   END stream=0 (stdin is over)    -> 
 *                                   <- EXIT code=0                  as soon as the process has ended
 *                                   <- END stream=1, END stream=2   when the last holder of the pipe has closed it
 *                                   <- CLOSED
 *
 * Back-pressure: each stream of a channel has a window of its own, of FRAME_WINDOW bytes at the start. Who sends DATA takes its length
 * from the window, and sends no more than is left; who has consumed bytes gives them back with CREDIT. Both ends of a road always read
 * it, and one stalled reader stops its own stream only. More DATA than the window had is a broken client: its channel is ended with
 * ERROR kind=protocol.
 *
 * Structured payloads are FIELDS: `name=value` strings, each ended by a NUL byte; names may repeat, order counts among equal names,
 * values hold any byte but NUL. berth-vmm's specification file has the same form.
 */
#ifndef BERTH_PROTOCOL_H
#define BERTH_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1
#define AGENT_PORT "org.berth.agent.0"

/* Longest payload of a frame; one that says more ends the road. */
#define FRAME_MAX (64u * 1024u)
/* Bytes that may be under way in one direction of one stream before the first CREDIT. */
#define FRAME_WINDOW (256u * 1024u)
#define FRAME_HEADER 12u

struct frame_header {
  uint32_t length;  /* of the payload */
  uint32_t channel; /* 0: about the road itself */
  uint8_t type;     /* enum frame_type */
  uint8_t stream;   /* DATA, END, CREDIT: 0 stdin, 1 stdout (all of a terminal's output), 2 stderr; else 0 */
  uint16_t zero;
};

enum frame_type {
  /*
   * Channel 0, both ways. The client says it first, the agent answers with FIELDS version=1, kernel=6.1.0..., boot=<random hex of
   * this agent's life>, root=0|1 (a root file system is mounted: a template's). Also a ping, any time.
   */
  FRAME_HELLO = 1,
  /* client: FIELDS, of which `verb` says what (below). */
  FRAME_OPEN = 2,
  /* both: bytes of a stream. */
  FRAME_DATA = 3,
  /* both: the stream has ended. For stdin of a terminal: nothing happens, as in a container. */
  FRAME_END = 4,
  /* both: u32, that many more bytes of the stream may be sent. */
  FRAME_CREDIT = 5,
  /* agent: FIELDS pid=, the process runs. */
  FRAME_STARTED = 6,
  /* agent: FIELDS code= as a shell says it (128 + signal), signal= when by one, oom=1 when the guest's kernel killed for memory. */
  FRAME_EXIT = 7,
  /* agent: FIELDS of a verb that has no process. */
  FRAME_REPLY = 8,
  /*
   * agent: FIELDS kind=, message= (a sentence), errno= (its number) where the guest's kernel said one.
   * kind: not-found (126/127's 127: no such command), not-executable (126), no-user, no-directory, no-root, not-running (the main process has
   * ended or never ran), invalid (a field), protocol, system.
   */
  FRAME_ERROR = 9,
  /* agent: the channel is over. */
  FRAME_CLOSED = 10,
  /* client: u32, a signal for the process. */
  FRAME_SIGNAL = 11,
  /* client: u16 rows, u16 columns. */
  FRAME_RESIZE = 12,
  /* client: it has gone. An exec's process is killed (SIGKILL) unless it was opened with detach=1; the main process stays. */
  FRAME_CANCEL = 13,
};

/*
 * Verbs, and their fields. Flags are 0 or 1 and 0 when absent; lists repeat the name.
 *
 * mount      the root file system: an overlay of the disks named by their serial. Once; answers REPLY.
 *            image=<serial of the read-only ext4>, scratch=<serial of the writable ext4> (absent: tmpfs), readonly=1
 *            shm=<bytes of /dev/shm>. Or os=<serial>: the root of the operating system on that disk, read-only, on which nothing runs;
 *            ERROR kind=no-root, with what its partitions are, when none has one that can be read.
 * configure  who this guest is; any number of times (after the boot, after a restore). All fields optional; answers REPLY.
 *            hostname=, domainname=, time=<seconds.nanoseconds since 1970>, entropy=<hex, 32 bytes and more>,
 *            link=<n> <name> <mac> <mtu>           the n-th network device (0 is the first)
 *            cards=1                               exactly the network cards of card= are the guest's from now on, the others have no device
 *            card=<slot> <name> <mac> <mtu>        the one in that slot of the bus, whether it had a device before or not
 *            address=<name> <address>/<prefix>     IPv4 or IPv6
 *            route=<name> <destination>/<prefix> <gateway, or "-" for none>
 *            resolver=<addresses>                  serves names at 127.0.0.11: asks all these servers (IPv4), and takes the first that has an answer; empty: no more
 *            file=<path in the root>\n<content>    mounted there (/etc/hosts, /etc/resolv.conf, /etc/hostname); again: other content
 *            sysctl=<name>=<value>
 *            tmpfs=<target>\n<mount options>       over the root, in their order with share=; before the main process runs
 *            share=<name>\n<target>\n<options>     what the virtiofs "shares" has under that name, a directory or a file; "ro"
 * prepare    before a template is saved: takes network devices up, without addresses, and makes a process with the main one's namespaces, mounts and streams, that waits for its program.
 *            privileged=, readonly=, masked= as run's. A run with the same ones, without a terminal, takes it; any other makes its own,
 *            as it does after share= and tmpfs=, which are not in its mounts. REPLY when it waits.
 * run        the main process; once. The fields of a process:
 *            arg= (argv, at least one), env=NAME=value, user=<name|uid[:group|gid]>, group=<extra group>, cwd=, tty=1, stdin=1,
 *            rows=, columns=, capabilities=<hex mask; absent: all>, nonewprivileges=1, rlimit=<name> <soft> <hard>, oom=<score adj>,
 *            readonly=<path>, masked=<path>, privileged=1 (/sys and the control group can be written to, all devices are there),
 *            init=1 (a PID 1 above it that passes signals on and reaps), memory= and pids= (as of `limit`). The last five of the main process only.
 *            rehearsal=1: in its place a program of the agent's own that does nothing, so that the real one finds all that it needs at
 *            hand; then `run` is yet to come, and may be prepared again. Before a machine is anybody's.
 *            It is PID 1 of a pid namespace and has a mount namespace of its own; its end ends every exec.
 *            Before its CLOSED the agent writes the disks' caches out, so that the machine can be switched off.
 * exec       one more process beside the main one: the same fields, and detach=1 (goes on when the client goes).
 * pack       a tar stream of path= on stdout (followlink=1: of what the path's last component links to); names start with name=
 *            (default: the last component); bare=1: the root alone, without what is mounted over it. leave=<pattern> (glob(7), below
 *            name=; repeats): without those; empty=<pattern>: directories without what is in them, files without content. Streams, STARTED
 *            and EXIT as of a process; EXIT code=0, or 1 with the reason on stderr.
 * unpack     a tar stream on stdin into the directory path=; EXIT likewise. keepowner=1 gives files the numbers in the archive,
 *            owner=<user> makes them all that user's; replace=1: a directory takes the place of another file, and the other way round, which
 *            else is refused. Without a main process all is on the disk at CLOSED.
 * layer      what the workload has changed in its root, as an OCI layer's tar on stdout; like pack. freeze=1: all its processes are
 *            stopped until the channel is over, whoever's end that is.
 * changes    the same as a list: strings on stdout, each ended by a NUL byte: "A", "C" or "D" (added, changed, deleted) and the path.
 * stat       path=, REPLY name= mode=<decimal st_mode> size= mtime= link=<target>.
 * processes  REPLY, per process: process=<pid> <ppid> <uid> <cpu ticks> <rss KiB> <state>\n<command line>, and pids as inside.
 * limit      memory=<bytes> pids=<how many>: of the workload from now on; 0: none. REPLY. What is not told stays.
 * stats      REPLY cpu_us= (busy), memory_total= memory_available= memory_used= (bytes; the last the workload's), pids=, read_bytes=
 *            write_bytes=, per link net=<name> <rx bytes> <rx packets> <tx bytes> <tx packets>.
 * signal     signal=<n> to the main process (what FRAME_SIGNAL on its channel does); REPLY.
 * sync       file systems to the disks; REPLY. freeze=1 / thaw=1: FIFREEZE / FITHAW of the scratch disk.
 * cards      answered by berth-vmm with the agent: net=<interface of the jail's namespace>, the networks from now on, and fields of configure.
 * started    answered by berth-vmm: REPLY once the main process runs (in maintenance: once the root is mounted), or the ERROR for which
 *            it does not. Waits till then.
 * poweroff   SIGKILL to everything, disks synced, the machine ends. No reply is certain.
 */

#endif
