import type { SeccompRule } from "./profile.ts";

/**
 * The default filter: what Docker's default profile lets through, as tables. Everything else fails with EPERM.
 * A rule with `needs` holds only for containers with that capability; `machines` are seccomp's architectures.
 */
export const defaultRules: readonly SeccompRule[] = [
  { names: alwaysAllowed() },
  { names: words("process_vm_readv process_vm_writev ptrace"), minKernel: [4, 8] },

  // Every address family but AF_ALG (38), a kernel interface with a history of holes, and AF_VSOCK (40), which leads to the hypervisor.
  { names: ["socket"], args: [{ index: 0, value: 38, op: "SCMP_CMP_LT" }] },
  { names: ["socket"], args: [{ index: 0, value: 39, op: "SCMP_CMP_EQ" }] },
  { names: ["socket"], args: [{ index: 0, value: 40, op: "SCMP_CMP_GT" }] },

  // Execution domains: Linux, with or without 16-bit uids and no randomisation, and the question which it is.
  ...[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff].map((value) => ({
    names: ["personality"],
    args: [{ index: 0, value, op: "SCMP_CMP_EQ" }],
  })),

  { names: words("sync_file_range2 swapcontext"), machines: ["ppc64le"] },
  {
    names: words("arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    machines: ["arm", "arm64"],
  },
  { names: ["arch_prctl"], machines: ["amd64", "x32"] },
  { names: ["modify_ldt"], machines: ["amd64", "x32", "x86"] },
  { names: words("s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"), machines: ["s390", "s390x"] },
  { names: ["riscv_flush_icache"], machines: ["riscv64"] },

  { names: ["open_by_handle_at"], needs: "CAP_DAC_READ_SEARCH" },
  {
    names: words(`
      bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
      lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
      sethostname setns syslog umount umount2 unshare
    `),
    needs: "CAP_SYS_ADMIN",
  },
  // Without CAP_SYS_ADMIN no new namespaces: clone by its flags; clone3, whose flags a filter can't see, "does not exist".
  { names: ["clone"], args: [noNewNamespaces(0)], lacks: "CAP_SYS_ADMIN", notMachines: ["s390", "s390x"] },
  { names: ["clone"], args: [noNewNamespaces(1)], lacks: "CAP_SYS_ADMIN", machines: ["s390", "s390x"] },
  { names: ["clone3"], action: "SCMP_ACT_ERRNO", errno: 38, lacks: "CAP_SYS_ADMIN" },
  { names: ["reboot"], needs: "CAP_SYS_BOOT" },
  { names: ["chroot"], needs: "CAP_SYS_CHROOT" },
  { names: words("delete_module init_module finit_module"), needs: "CAP_SYS_MODULE" },
  { names: ["acct"], needs: "CAP_SYS_PACCT" },
  {
    names: words("kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    needs: "CAP_SYS_PTRACE",
  },
  { names: words("iopl ioperm"), needs: "CAP_SYS_RAWIO" },
  { names: words("settimeofday stime clock_settime clock_settime64"), needs: "CAP_SYS_TIME" },
  { names: ["vhangup"], needs: "CAP_SYS_TTY_CONFIG" },
  { names: words("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"), needs: "CAP_SYS_NICE" },
  { names: ["syslog"], needs: "CAP_SYSLOG" },
  { names: ["bpf"], needs: "CAP_BPF" },
  { names: ["perf_event_open"], needs: "CAP_PERFMON" },
];

/** seccomp's name of a machine, and those of the 32-bit ones that its kernel also runs, by GOARCH. */
export const defaultArchitectures: Readonly<Record<string, readonly string[]>> = {
  amd64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  arm64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
  s390x: ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
  riscv64: ["SCMP_ARCH_RISCV64"],
  loong64: ["SCMP_ARCH_LOONGARCH64"],
};

function noNewNamespaces(index: number) {
  // CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: all zero.
  return { index, value: 0x7e02_0000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" };
}

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** System calls that do nothing beyond the container's own walls. */
function alwaysAllowed(): readonly string[] {
  return [
    // Time
    ...words(`
      adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
      clock_nanosleep clock_nanosleep_time64 futimesat getitimer gettimeofday nanosleep setitimer time
      timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
      timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times utime utimensat
      utimensat_time64 utimes
    `),
    // Users and groups
    ...words(`
      getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
      getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
      setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
    `),
    // Signals
    ...words(`
      kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
      rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd
      signalfd4 sigprocmask sigreturn tgkill tkill
    `),
    // Scheduling
    ...words(`
      getcpu getpriority ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min sched_getaffinity
      sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
      sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority
    `),
    // Sockets
    ...words(`
      accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
      recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
    `),
    // Memory
    ...words(`
      brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
      mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
      process_mrelease remap_file_pages
    `),
    // System V and POSIX inter-process communication
    ...words(`
      ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
      mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt
      shmget
    `),
    // Waiting for events
    ...words(`
      _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
      epoll_wait_old eventfd eventfd2 fanotify_mark futex futex_requeue futex_time64 futex_wait futex_waitv
      futex_wake inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
      io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll ppoll_time64 pselect6 pselect6_time64
      select
    `),
    // Extended attributes
    ...words(`
      fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
      lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
    `),
    // Processes and threads
    ...words(`
      capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getpgid getpgrp getpid
      getppid getrlimit getrusage getsid gettid landlock_add_rule landlock_create_ruleset landlock_restrict_self
      pidfd_open prctl prlimit64 riscv_hwprobe rseq seccomp set_robust_list set_thread_area set_tid_address
      setpgid setrlimit setsid ugetrlimit umask uretprobe vfork wait4 waitid waitpid
    `),
    // Files
    ...words(`
      _llseek access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
      faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
      fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 getcwd
      getdents getdents64 getrandom ioctl lchown lchown32 link linkat listmount lseek lstat lstat64 mkdir mkdirat
      mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64
      pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile
      sendfile64 splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs
      sysinfo tee truncate truncate64 uname unlink unlinkat vmsplice write writev
    `),
  ];
}
