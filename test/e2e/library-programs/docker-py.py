"""What docker-py's README shows and what its users do every day, against the engine at DOCKER_HOST. Prints "ok" at its end."""
import io
import sys
import tarfile

import docker

image = sys.argv[1]
client = docker.from_env()
assert client.ping()

# Run: in the foreground, with its error, in the background.
assert client.containers.run(image, "echo hello world") == b"hello world\n"
try:
    client.containers.run(image, ["sh", "-c", "echo broken >&2; exit 3"])
    raise AssertionError("it must fail")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and b"broken" in error.stderr, error
network = client.networks.create("py-net", driver="bridge")
volume = client.volumes.create("py-volume")
box = client.containers.run(
    image,
    ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"],
    detach=True,
    name="py-box",
    network="py-net",
    environment={"GREETING": "hello"},
    labels={"py": "yes"},
    volumes={"py-volume": {"bind": "/data", "mode": "rw"}},
)
assert [c.id for c in client.containers.list(filters={"label": "py=yes"})] == [box.id]
assert next(box.logs(stream=True, follow=True)).startswith(b"ready")

# Exec: one answer, both streams apart, a stream.
assert box.exec_run(["sh", "-c", "echo $GREETING"]).output == b"hello\n"
code, (out, err) = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
assert (code, out, err) == (4, b"out\n", b"err\n")
assert b"".join(box.exec_run("seq 1 3", stream=True).output) == b"1\n2\n3\n"

# Files in and out.
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as tar:
    info = tarfile.TarInfo("note.txt")
    info.size = 6
    tar.addfile(info, io.BytesIO(b"copied"))
assert box.put_archive("/data", packed.getvalue())
chunks, stat = box.get_archive("/data/note.txt")
assert stat["name"] == "note.txt" and stat["size"] == 6, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
    assert tar.extractfile("note.txt").read() == b"copied"

# Build, commit, tag, save and load.
built, log = client.images.build(fileobj=io.BytesIO(f"FROM {image}\nRUN echo built > /built\nCMD cat /built\n".encode()), tag="py-built:1", rm=True)
assert any("Successfully built" in line.get("stream", "") for line in log)
assert client.containers.run("py-built:1", remove=True) == b"built\n"
assert box.commit("py-committed", tag="1").tags == ["py-committed:1"]
assert built.tag("py-other", "2") and "py-other:2" in client.images.get("py-built:1").tags
saved = b"".join(client.images.get("py-built:1").save(named=True))
client.images.remove("py-built:1")
assert client.images.load(saved)[0].tags.count("py-built:1") == 1

# Stats, top, update, stop, wait, events.
assert box.stats(stream=False)["memory_stats"]["usage"] > 0
assert any("trap" in " ".join(row) for row in box.top()["Processes"])
box.reload()
assert box.attrs["NetworkSettings"]["Networks"]["py-net"]["IPAddress"]
seen = client.events(decode=True, filters={"container": "py-box", "event": ["die", "stop"]})
box.stop(timeout=5)
assert [next(seen)["Action"], next(seen)["Action"]] == ["die", "stop"]
seen.close()
assert box.wait()["StatusCode"] == 5
box.remove()
network.remove()
volume.remove()
for name in ("py-built:1", "py-other:2", "py-committed:1"):
    client.images.remove(name, force=True)
for left in client.containers.list(all=True):
    left.remove(force=True)
print("ok")
