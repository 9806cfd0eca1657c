/** What `docker run` takes, and how it fails. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brief, image, inspect, plain, refused, sh, words, type DockerCase } from "./docker-case.ts";

export const runCases: readonly DockerCase[] = [
  plain("run prints output and takes exit codes", "run --rm", image, sh("echo out; echo err >&2; exit 7")),
  plain("run without a command uses the image's", "run --rm", image),
  refused("run of an unknown command", `run --rm ${image} nosuchcommand`),
  refused("run of a directory", `run --rm ${image} /etc`),
  refused("run with a bad name", `run --rm --name /bad/name ${image} true`),
  refused("run with too little memory", `run --rm -m 1m ${image} true`),
  refused(
    "run with a bind that is not absolute",
    `run --rm --mount type=bind,source=/nonexistent-dir-x,target=/x ${image} true`,
  ),
  refused("run with a bad capability", `run --rm --cap-add NOSUCH ${image} true`),
  refused("run with an unknown network", `run --rm --network nosuchnet ${image} true`),
  refused("run with an unknown runtime", `run --rm --runtime nosuch ${image} true`),
  plain(
    "run with environment, workdir, host name",
    "run --rm -e A=1 -e B --env C=3 -w /tmp -h myhost",
    image,
    sh("echo $A [$B] $C $PWD $(hostname)"),
  ),
  plain(
    "run as a user with groups",
    "run --rm -u www --group-add audio",
    image,
    sh("id -un; id -G | tr ' ' '\\n' | sort -nu"),
  ),
  plain("run as numeric ids", "run --rm -u 1234:5678", image, sh("id -u; id -g; echo $HOME")),
  refused("run as an unknown user", `run --rm -u nosuchuser ${image} true`),
  plain("run with an entry point", "run --rm --entrypoint echo", image, ["hello", "world"]),
  plain(
    "run read-only with a tmpfs",
    "run --rm --read-only --tmpfs /scratch:size=1m",
    image,
    sh("touch /x 2>&1; touch /scratch/y && echo written; grep -c ' /scratch tmpfs' /proc/mounts"),
  ),
  plain(
    "run drops and adds capabilities",
    "run --rm --cap-drop ALL --cap-add NET_RAW",
    image,
    sh("grep CapEff /proc/self/status"),
  ),
  plain(
    "run has docker's default capabilities",
    "run --rm",
    image,
    sh("grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; grep NoNewPrivs /proc/self/status"),
  ),
  plain(
    "run with no new privileges",
    "run --rm --security-opt no-new-privileges",
    image,
    sh("grep NoNewPrivs /proc/self/status"),
  ),
  plain(
    "run without seccomp",
    "run --rm --security-opt seccomp=unconfined",
    image,
    sh("grep Seccomp: /proc/self/status"),
  ),
  plain(
    "run masks paths",
    "run --rm",
    image,
    sh(
      "ls /proc/acpi /sys/firmware 2>/dev/null | wc -l; echo x 2>/dev/null > /proc/sys/kernel/domainname || echo readonly",
    ),
  ),
  plain(
    "run with a sysctl and a ulimit",
    "run --rm --sysctl net.ipv4.ip_forward=1 --ulimit nofile=512:1024",
    image,
    sh("cat /proc/sys/net/ipv4/ip_forward; ulimit -n; ulimit -Hn"),
  ),
  plain(
    "run with memory, cpu and pids limits",
    "run --rm -m 64m --cpus 0.5 --pids-limit 50 --cpuset-cpus 0",
    image,
    sh("nproc"),
  ),
  plain("run out of memory is killed", "run --rm -m 16m --memory-swap 16m", image, sh("x=a; while :; do x=$x$x; done")),
  plain("run with an init", "run --rm --init", image, sh("cat /proc/1/comm")),
  plain(
    "run with a device",
    "run --rm --device /dev/null:/dev/mynull:rw",
    image,
    sh("test -c /dev/mynull && echo device"),
  ),
  plain(
    "run privileged sees devices",
    "run --rm --privileged",
    image,
    sh(
      "grep CapEff /proc/self/status | cut -c9-16; grep Seccomp: /proc/self/status; test -b /dev/vda -o -c /dev/kmsg -o -c /dev/mem && echo devices",
    ),
  ),
  plain(
    "run with the host's network",
    "run --rm --network host",
    image,
    sh("ls /sys/class/net | grep -c .  >/dev/null && echo host"),
  ),
  plain("run without network", "run --rm --network none", image, sh("ls /sys/class/net")),
  plain(
    "run in the host's pid namespace",
    "run --rm --pid host",
    image,
    sh("test $(ls -d /proc/[0-9]* | wc -l) -gt 5 && echo host"),
  ),
  plain(
    "run passes extra hosts",
    "run --rm --add-host a.example:192.0.2.7",
    image,
    sh("grep a.example /etc/hosts | tr '\\t' ' '"),
  ),
  plain(
    "run sets DNS",
    "run --rm --dns 192.0.2.53 --dns-search example.org --dns-option ndots:2",
    image,
    sh("grep -v '^#' /etc/resolv.conf | grep ."),
  ),
  plain(
    "run has /dev/shm of the given size",
    "run --rm --shm-size 32m",
    image,
    sh("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"),
  ),
  {
    name: "run passes stdin",
    effect: async (docker) => brief(await docker.run(words(`run --rm -i ${image} cat`), "one\ntwo\n")),
  },
  {
    name: "run with an env file and labels",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "env"), "# note\nX=from file\nY=2\n");
        await docker.run(words(`create --name case --env-file ${directory}/env --label a=b --label c ${image}`));
        return {
          env: await inspect(docker, "{{range .Config.Env}}{{println .}}{{end}}"),
          labels: await inspect(docker, "{{json .Config.Labels}}"),
        };
      } finally {
        await docker.run(words("rm -f case"));
        rmSync(directory, { recursive: true });
      }
    },
  },
];
