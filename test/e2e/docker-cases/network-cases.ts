/** Networks and published ports. */
import {
  brief,
  errorOnly,
  image,
  inspect,
  plain,
  refused,
  running,
  sh,
  words,
  type DockerCase,
} from "./docker-case.ts";

export const networkCases: readonly DockerCase[] = [
  plain("network ls", "network ls --format", ["{{.Name}} {{.Driver}} {{.Scope}}"], "--filter type=builtin"),
  {
    name: "user network with names, aliases and fixed addresses",
    effect: async (docker) => {
      try {
        const created = await docker.run(words("network create --subnet 10.213.7.0/24 --label x=y case-net"));
        await docker.run(
          words(
            `run -d --name case --network case-net --ip 10.213.7.77 --network-alias other --stop-signal KILL ${image} sleep 1000`,
          ),
        );
        const byName = brief(
          await docker.run([
            ...words(`run --rm --network case-net ${image}`),
            ...sh("nslookup case 2>/dev/null | grep -c 10.213.7.77; ping -c1 -W2 other >/dev/null && echo reached"),
          ]),
        );
        const address = await inspect(
          docker,
          '{{(index .NetworkSettings.Networks "case-net").IPAddress}} {{(index .NetworkSettings.Networks "case-net").Gateway}}',
        );
        const members = await inspect(
          docker,
          "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}} {{.Internal}} {{json .Labels}} {{(index .IPAM.Config 0).Subnet}}",
          "case-net",
        );
        const busy = await docker.run(words("network rm case-net"));
        return { created: created.code, byName, address, members, busy: busy.code };
      } finally {
        await docker.run(words("rm -f case"));
        await docker.run(words("network rm case-net"));
      }
    },
  },
  running("connect and disconnect while running", "", async (docker) => {
    await docker.run(words("network create --subnet 10.213.8.0/24 case-net"));
    try {
      const connected = brief(await docker.run(words("network connect --alias late case-net case")));
      const links = brief(await docker.run([...words("exec case"), ...sh("ls /sys/class/net | grep -c eth")]));
      const disconnected = brief(await docker.run(words("network disconnect case-net case")));
      const after = brief(await docker.run([...words("exec case"), ...sh("ls /sys/class/net | grep -c eth")]));
      return {
        connected,
        links,
        disconnected,
        after,
        again: errorOnly(await docker.run(words("network disconnect case-net case"))).code,
      };
    } finally {
      await docker.run(words("network disconnect -f case-net case"));
      await docker.run(words("network rm case-net"));
    }
  }),
  running(
    "published ports",
    "-p 127.0.0.1:0:80 -p 127.0.0.1:0:53/udp",
    async (docker) => {
      const ports = brief(await docker.run(words("port case")));
      const [, port] = /80\/tcp -> 127\.0\.0\.1:(\d+)/.exec(ports.stdout) ?? [];
      const fetched = () =>
        fetch(`http://127.0.0.1:${port}/etc/passwd`, { signal: AbortSignal.timeout(5000) }).then(
          (response) => response.status,
          String,
        );
      let answer = await fetched();
      // It has only just been started.
      for (let tries = 0; tries < 100 && answer !== 200; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        answer = await fetched();
      }
      const conflict = await docker.run(words(`run --rm -p 127.0.0.1:${port}:80 ${image} true`));
      return {
        ports: ports.stdout
          .split("\n")
          .map((line) => line.replace(/:\d+$/, ":PORT"))
          .sort(),
        answer,
        conflict: [conflict.code, /port is already allocated/.test(conflict.stderr)],
      };
    },
    sh("httpd -f -p 80 -h /"),
  ),
  running(
    "share a container's network",
    "",
    async (docker) =>
      brief(
        await docker.run([
          ...words(`run --rm --network container:case ${image}`),
          ...sh("wget -qO- http://127.0.0.1:80/etc/hostname | wc -c"),
        ]),
      ),
    sh("httpd -f -p 80 -h /"),
  ),
  refused("remove a predefined network", "network rm bridge"),
  refused("remove an unknown network", "network rm nosuchnet"),
];
