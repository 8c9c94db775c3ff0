"""docker-py, as programs written in Python use Docker."""

import io
import pathlib
import queue
import sys
import tarfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import docker  # noqa: E402
from docker.errors import APIError, BuildError, ContainerError, ImageNotFound, NotFound  # noqa: E402

from steps import Steps, expect, guest, seen  # noqa: E402

step = Steps()


def lines(output):
    """Output as lines, whatever ends them."""
    return output.decode().replace("\r\n", "\n").splitlines()


def shell(world, text):
    return world["shell"] + [text]


def idle(client, world, **options):
    """A container that runs until it is stopped."""
    return client.containers.run(world["image"], shell(world, world["idle"]), detach=True, **options)


def refused(status, call):
    """The text with which a call is refused."""
    try:
        call()
    except APIError as error:
        expect(error.status_code == status, f"{error.status_code} {error.explanation}")
        return error.explanation.splitlines()[0]
    raise AssertionError("the call was not refused")


@step
def the_daemon_tells_of_itself(client, world):
    expect(client.ping(), "no ping")
    expect(client.info()["OSType"] == client.version()["Os"], client.info()["OSType"])
    expect("LayersSize" in client.df(), client.df().keys())


@step
def a_command_is_run_and_its_output_returned(client, world):
    output = client.containers.run(world["image"], shell(world, "echo hello"), remove=True)
    expect(lines(output) == ["hello"], output)


@step
def a_failing_command_is_an_error_with_its_status(client, world):
    try:
        client.containers.run(world["image"], shell(world, "echo why 1>&2& exit 3".replace(
            "& exit", "&exit" if world["shell"][0] == "cmd" else "; exit")), remove=True)
    except ContainerError as error:
        expect(error.exit_status == 3 and b"why" in error.stderr, str(error))
    else:
        raise AssertionError("no error")


@step
def errors_have_docker_py_s_types(client, world):
    for call in (lambda: client.containers.get("nobody"), lambda: client.networks.get("nobody"),
                 lambda: client.volumes.get("nobody")):
        try:
            call()
        except NotFound as error:
            seen("404", error.explanation)
        else:
            raise AssertionError("nobody was found")
    try:
        client.images.get("nobody")
    except ImageNotFound as error:
        seen("404", error.explanation)
    container = client.containers.create(world["image"], name="taken")
    text = refused(409, lambda: client.containers.create(world["image"], name="taken"))
    expect("is already in use by container" in text, text)
    text = refused(409, lambda: container.exec_run("x"))
    expect("is not running" in text, text)
    container.remove()
    seen("400", refused(400, lambda: client.containers.create(world["image"], name="no/name")))
    seen("400", refused(400, lambda: client.images.build(fileobj=io.BytesIO(b"FRM x"))))


@step
def environment_folder_labels_and_ports_are_kept(client, world):
    container = idle(client, world, environment={"WORD": "given"}, working_dir=world["folder"],
                     labels={"kind": "kept"}, ports={"80/tcp": None, "81/udp": ("127.0.0.1", None)},
                     hostname="inside", name="kept")
    container.reload()
    expect(container.labels["kind"] == "kept", container.labels)
    expect(container.ports["80/tcp"][0]["HostPort"].isdigit(), container.ports)
    expect(container.ports["81/udp"][0]["HostIp"] == "127.0.0.1", container.ports)
    expect(lines(container.exec_run(shell(world, world["show_variable"])).output) == ["given"], "env")
    folder = lines(container.exec_run(shell(world, world["show_folder"])).output)
    expect(folder[0].lower() == world["folder"].lower(), folder)
    found = client.containers.list(filters={"label": "kind=kept", "status": "running"})
    expect([one.name for one in found] == ["kept"], found)
    container.remove(force=True)


@step
def exec_streams_are_told_apart(client, world):
    container = idle(client, world)
    both = "echo out&echo err 1>&2&exit 5" if world["shell"][0] == "cmd" else "echo out;echo err 1>&2;exit 5"
    code, (out, err) = container.exec_run(shell(world, both), demux=True)
    expect((code, lines(out), [line.strip() for line in lines(err)]) == (5, ["out"], ["err"]), (code, out, err))
    _, chunks = container.exec_run(shell(world, world["twice"]), stream=True)
    expect(lines(b"".join(chunks)) == ["first", "second"], "stream")
    code, _ = container.exec_run(shell(world, world["idle"]), detach=True)
    expect(code is None, code)
    created = client.api.exec_create(container.id, shell(world, world["echo_input"]), stdin=True, tty=False)
    expect(client.api.exec_inspect(created["Id"])["ExitCode"] is None, "a code before the start")
    sock = client.api.exec_start(created["Id"], socket=True)
    raw = sock._sock  # pylint: disable=protected-access
    raw.sendall(b"typed\n")
    raw.shutdown(1)
    expect(b"typed" in b"".join(iter(lambda: raw.recv(4096), b"")), "input did not come back")
    sock.close()
    expect(client.api.exec_inspect(created["Id"])["ExitCode"] == 0, "exit code")
    container.remove(force=True)


@step
def a_terminal_has_a_size(client, world):
    container = idle(client, world, tty=True, stdin_open=True)
    container.resize(40, 120)
    created = client.api.exec_create(container.id, shell(world, world["slowly"]), tty=True)
    stream = client.api.exec_start(created["Id"], tty=True, stream=True)
    begun = next(stream)
    client.api.exec_resize(created["Id"], 40, 120)
    expect(b"second" in begun + b"".join(stream), "no output of a terminal")
    container.remove(force=True)


@step
def logs_are_followed_and_cut(client, world):
    container = client.containers.run(world["image"], shell(world, world["twice"]), detach=True)
    followed = b"".join(container.logs(stream=True, follow=True))
    expect(lines(followed) == ["first", "second"], followed)
    expect(lines(container.logs(tail=1)) == ["second"], "tail")
    stamped = lines(container.logs(timestamps=True))
    expect(stamped[0][10] == "T" and stamped[0].endswith(" first"), stamped)
    expect(container.logs(since=int(time.time()) + 60) == b"", "since")
    expect(lines(container.logs(until=int(time.time()) + 60)) == ["first", "second"], "until")
    expect(container.logs(stdout=False, stderr=True) == b"", "stderr")
    expect(container.wait()["StatusCode"] == 0, "status")
    container.remove()


@step
def a_container_is_attached_to(client, world):
    container = client.containers.create(world["image"], shell(world, world["echo_input"]), stdin_open=True)
    sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    container.start()
    raw = sock._sock  # pylint: disable=protected-access
    raw.sendall(b"through attach\n")
    expect(b"through attach" in raw.recv(4096), "no answer")
    sock.close()
    container.stop(timeout=1)
    container.remove()
    container = client.containers.create(world["image"], shell(world, world["twice"]))
    stream = container.attach(stream=True, logs=True)
    container.start()
    expect(lines(b"".join(stream)) == ["first", "second"], "attach")
    container.wait()
    container.remove()


@step
def a_container_goes_through_its_life(client, world):
    container = idle(client, world, name="alive")
    container.rename("renamed")
    container.pause()
    container.reload()
    expect(container.status == "paused", container.status)
    container.unpause()
    container.restart(timeout=1)
    expect(container.top()["Processes"], "nobody is at home")
    container.update(restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    container.reload()
    expect(container.attrs["HostConfig"]["RestartPolicy"]["MaximumRetryCount"] == 2, container.attrs)
    container.stop(timeout=1)
    container.stop()
    container.start()
    container.kill()
    code = container.wait()["StatusCode"]
    seen("exit code after kill", code)
    expect(code != 0, code)
    seen("409", refused(409, container.kill).replace(container.id, "ID"))
    container.remove(v=True)


@step
def what_a_container_uses_is_sampled(client, world):
    container = idle(client, world, name="used")
    sample = container.stats(stream=False)
    expect(sample["name"].endswith("used") and "cpu_stats" in sample, sample)
    stream = container.stats(decode=True)
    expect("memory_stats" in next(stream), "no sample of a stream")
    stream.close()
    container.remove(force=True)


@step
def files_go_in_and_come_out(client, world):
    container = idle(client, world, working_dir=world["folder"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("file.txt")
        entry.size = 9
        tar.addfile(entry, io.BytesIO(b"packed in"))
    expect(container.put_archive(world["folder"], packed.getvalue()), "put")
    expect(lines(container.exec_run(shell(world, world["read"])).output) == ["packed in"], "read")
    stream, stat = container.get_archive(world["file"])
    expect((stat["name"], stat["size"]) == ("file.txt", 9), stat)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        expect(tar.extractfile("file.txt").read() == b"packed in", tar.getnames())
    seen("404", refused(404, lambda: container.get_archive("/nobody")).replace(container.id, "ID"))
    container.remove(force=True)


@step
def changes_are_listed_exported_and_committed(client, world):
    container = client.containers.run(world["image"], shell(world, world["change"]), detach=True)
    container.wait()
    paths = [change["Path"].replace("\\", "/") for change in container.diff()]
    expect(any(path.endswith("/made/here.txt") for path in paths), paths)
    exported = b"".join(container.export())
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        expect(any(name.endswith("made/here.txt") for name in tar.getnames()), tar.getnames()[:20])
    image = container.commit("committed", "1", message="said", author="me", changes='LABEL a=b')
    expect(image.tags == ["committed:1"] and image.labels["a"] == "b", image.attrs)
    expect(image.attrs["Author"] == "me", image.attrs["Author"])
    container.remove()
    client.images.remove("committed:1")


@step
def volumes_outlive_containers(client, world):
    volume = client.volumes.create("kept-volume", labels={"kind": "kept"})
    mount = {volume.name: {"bind": world["folder"], "mode": "rw"}}
    client.containers.run(world["image"], shell(world, world["write"]), volumes=mount, remove=True)
    output = client.containers.run(world["image"], shell(world, world["read"]), volumes=mount, remove=True)
    expect(lines(output) == ["written"], output)
    held = idle(client, world, mounts=[docker.types.Mount(world["folder"], volume.name, read_only=True)])
    seen("409", refused(409, volume.remove).replace(held.id, "ID"))
    _, output = held.exec_run(shell(world, world["write"]))
    expect(b"denied" in output or b"Read-only" in output, output)
    held.remove(force=True)
    expect([one.name for one in client.volumes.list(filters={"label": "kind=kept"})] == [volume.name], "list")
    volume.remove()


@step
def networks_join_containers_by_name(client, world):
    network = client.networks.create("joined", labels={"kind": "net"})
    one = idle(client, world, network="joined", name="one")
    two = idle(client, world, name="two")
    network.connect(two, aliases=["neighbour"])
    code, output = one.exec_run(shell(world, world["find_neighbour"]))
    expect(code == 0, output)
    network.reload()
    expect({container.name for container in network.containers} == {"one", "two"}, network.attrs)
    seen("403", refused(403, network.remove).replace(network.id, "ID")[:60])
    network.disconnect(two)
    two.reload()
    expect("joined" not in two.attrs["NetworkSettings"]["Networks"], two.attrs["NetworkSettings"])
    expect(client.networks.list(names=["joined"])[0].id == network.id, "list")
    one.remove(force=True)
    two.remove(force=True)
    network.remove()


@step
def images_are_built_saved_loaded_and_removed(client, world):
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        text = world["dockerfile"].encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    context.seek(0)
    image, log = client.images.build(fileobj=context, custom_context=True, tag="from-python:1", rm=True)
    expect(any("Successfully built" in entry.get("stream", "") for entry in log), "log")
    expect(image.labels == {"made": "here"}, image.labels)
    expect(lines(client.containers.run("from-python:1", remove=True)) == ["built"], "run")
    expect(image.history()[0]["Id"] == image.id, image.history()[0])
    expect(image.tag("from-python", "2"), "tag")
    saved = b"".join(client.images.get("from-python:2").save(named="from-python:2"))
    client.images.remove("from-python:1")
    client.images.remove("from-python:2")
    expect("from-python:2" in client.images.load(saved)[0].tags, "load")
    expect(client.images.list("from-python"), "list")
    client.images.remove("from-python:2")
    try:
        client.images.build(fileobj=io.BytesIO(f"FROM {world['image']}\nRUN exit 4\n".encode()), forcerm=True)
    except BuildError as error:
        expect("returned a non-zero code: 4" in str(error), error)
    else:
        raise AssertionError("a failing build succeeded")


@step
def events_come_in_their_order(client, world):
    actions = queue.Queue()
    stream = client.events(decode=True, filters={"container": "told"})
    reader = threading.Thread(target=lambda: [actions.put(event) for event in stream], daemon=True)
    reader.start()
    started = time.time()
    container = client.containers.create(world["image"], shell(world, "exit 2"), name="told")
    container.start()
    container.wait()
    container.remove()
    got = []
    while not got or got[-1]["Action"] != "destroy":
        got.append(actions.get(timeout=30))
    stream.close()
    seen("events of a container", " ".join(event["Action"] for event in got))
    died = next(event for event in got if event["Action"] == "die")
    expect(died["Actor"]["Attributes"]["exitCode"] == "2", died)
    again = list(client.events(decode=True, since=int(started), until=int(time.time()) + 1,
                               filters={"container": "told", "event": "die"}))
    expect([event["Action"] for event in again] == ["die"], again)


@step
def health_is_told(client, world):
    check = {"test": ["CMD-SHELL", "exit 0"], "interval": 200_000_000, "retries": 1}
    container = idle(client, world, healthcheck=check)
    end = time.time() + 60
    while client.api.inspect_container(container.id)["State"]["Health"]["Status"] != "healthy":
        expect(time.time() < end, "it did not become healthy")
        time.sleep(0.1)
    container.remove(force=True)


@step
def what_is_not_used_is_pruned(client, world):
    ended = client.containers.create(world["image"], labels={"prune": "me"})
    network = client.networks.create("unused", labels={"prune": "me"})
    volume = client.volumes.create("unused", labels={"prune": "me"})
    mine = {"label": "prune=me"}
    expect(client.containers.prune(mine)["ContainersDeleted"] == [ended.id], "containers")
    expect(client.networks.prune(mine)["NetworksDeleted"] == [network.name], "networks")
    expect(client.volumes.prune({**mine, "all": True})["VolumesDeleted"] == [volume.name], "volumes")
    expect("SpaceReclaimed" in client.images.prune({**mine, "dangling": True}), "images")
    expect("SpaceReclaimed" in client.api.prune_builds(), "builds")


@step
def what_this_engine_lacks_is_refused_plainly(client, world):
    expect(client.plugins.list() == [], "plugins")
    seen("503", refused(503, client.services.list))
    seen("503", refused(503, client.nodes.list))


if __name__ == "__main__":
    CLIENT = docker.from_env(version="auto", timeout=120)
    print(f"version: docker-py {docker.__version__}")
    step.run(CLIENT, guest(CLIENT.version()["Os"]))
