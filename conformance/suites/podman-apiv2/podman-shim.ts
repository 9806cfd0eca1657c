/**
 * A `podman` for the tests' own preparations: the verbs they use, done by the docker client on the engine under test. What only
 * Podman has (manifests, pods, its configuration) fails, as a missing feature does.
 */
export function podmanShim(socket: string): string {
  return `#!/bin/bash
export DOCKER_HOST=unix://${socket} DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
while [ $# -gt 0 ]; do
  case $1 in
    --root|--runroot|--tmpdir) shift 2;;
    --root=*|--runroot=*|--tmpdir=*|--syslog=*) shift;;
    *) break;;
  esac
done
verb=$1; shift
case $verb in container|image) verb="$verb $1"; shift;; esac
args=(); all=
for arg; do
  case "$verb $arg" in
    "run --replace"|"create --replace") replace=1;;
    "pull --retry") skip=1;;
    rm\\ -a|rm\\ --all|rm\\ -af|rm\\ -fa|rmi\\ -a|rmi\\ -af|rmi\\ -fa|"container rm -fa") all=1;;
    rm\\ -t*|"container rm -t0"|rm\\ -i) ;;
    stop\\ -i) ;;
    *) if [ -n "$skip" ]; then skip=; else args+=("$arg"); fi;;
  esac
done
names_of() { # the value of --name
  local previous= word
  for word in "\${args[@]}"; do
    case $word in --name=*) echo "\${word#--name=}";; esac
    [ "$previous" = --name ] && echo "$word"
    previous=$word
  done
}
case $verb in
  run|create)
    # Docker's names of what podman calls otherwise.
    for i in "\${!args[@]}"; do [ "\${args[i]}" = --net ] && args[i]=--network; done
    [ -n "$replace" ] && docker rm -f $(names_of) >/dev/null 2>&1
    exec docker "$verb" "\${args[@]}";;
  rm|"container rm")
    [ -n "$all" ] && { ids=$(docker ps -aq); [ -z "$ids" ] || docker rm -f -v $ids; exit 0; }
    exec docker rm "\${args[@]}";;
  rmi)
    [ -n "$all" ] && { ids=$(docker images -aq | sort -u); [ -z "$ids" ] || docker rmi -f $ids; exit 0; }
    exec docker rmi "\${args[@]}";;
  untag)
    [ \${#args[@]} -gt 1 ] && exec docker rmi "\${args[@]:1}"
    exec docker rmi $(docker image inspect --format '{{join .RepoTags " "}}' "\${args[0]}");;
  build|"image build") exec docker build "\${args[@]}";;
  commit)
    [ "\${args[0]}" = -q ] && args=("\${args[@]:1}")
    exec docker commit "\${args[@]}";;
  pull|tag|save|load|push|network|volume|stop|start|pause|unpause|wait|kill|info|ps|"image inspect"|inspect|"container stop"|"container inspect"|login|logout)
    exec docker $verb "\${args[@]}";;
  *) echo "podman $verb: Podman's own" >&2; exit 125;;
esac
`;
}
