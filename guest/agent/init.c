/* What `--init` asks for: a PID 1 that passes signals on to the program, and waits for whatever it leaves behind. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reaps what has ended. True when the program has: `code` is its exit code as a shell says it. */
static bool reap(pid_t program, int *code) {
  bool ended = false;
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != program) continue;
    *code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    ended = true;
  }
  return ended;
}

bool become_init(struct failure *failure) {
  sigset_t all, had;
  int code = 0;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &had);
  pid_t program = fork();
  if (program < 0) return fail(failure, "system", errno, "starting the program below its init");
  if (program == 0) {
    /* A group of its own, in front of the terminal: what is typed there is not for the init. */
    signal(SIGTTOU, SIG_IGN);
    setpgid(0, 0);
    tcsetpgrp(0, getpgrp());
    signal(SIGTTOU, SIG_DFL);
    sigprocmask(SIG_SETMASK, &had, NULL);
    return true;
  }
  prctl(PR_SET_NAME, "docker-init");
  /* Among others, that by which the program tells that it runs. */
  syscall(SYS_close_range, 3, ~0u, 0);
  for (;;) {
    int signal = sigwaitinfo(&all, NULL);
    if (signal == SIGCHLD && reap(program, &code)) _exit(code);
    if (signal > 0 && signal != SIGCHLD) kill(program, signal);
  }
}
