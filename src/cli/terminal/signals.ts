/** Passes the signals we get on to a process, until disposed. */
export function forwardSignals(send: (signal: string) => Promise<unknown>): Disposable {
  const names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
  // The process may have ended between the signal and the call; its exit is reported anyway.
  const forward = (name: NodeJS.Signals) => void send(name).catch(() => {});
  for (const name of names) process.on(name, forward);
  return {
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, forward);
    },
  };
}
