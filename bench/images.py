#!/usr/bin/env python3
"""Times moving images on orield and on dockerd, turn by turn in one run, with the same layer.

    bench/images.py --oriel unix:///run/oriel.sock --dockerd-host unix:///run/docker.sock

Makes one layer in the layout of a Windows image (40 000 files in 1 GiB by default, half of it incompressible)
and an archive of it for each engine: the layer's bytes are the same, only the configuration says `windows` or
`linux`. Then times `docker load` and `docker save`, `docker push` and `docker pull` through `--registry`, and
`docker commit` of a container with ten changed files when `--oriel-root` tells where orield keeps its data. Both
engines do what the verb promises: dockerd stores extracted layers only, orield the layer's blob too.

Prints the median of the rounds, the ratio to dockerd (above 1 is faster than dockerd), and the most memory that
orield had at once during the verb. Only ratios taken in one run say anything: other load moves the figures of a
machine by a factor of two.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import random
import statistics
import subprocess
import tarfile
import tempfile
import time

IMAGE = "oriel-bench-images"

# ext4 does not reuse the inode of a file that was deleted less than a minute ago, and looks at each of them for
# every new file: without a pause the removal of the last round's layer is what the next one measures.
SETTLE = 75


class Engine:
    def __init__(self, name, host, os_name, work):
        self.name, self.host, self.os = name, host, os_name
        self.archive = work / f"{name}.tar"
        self.saved = work / f"{name}-saved.tar"

    def docker(self, *words, **options):
        return subprocess.run(["docker", "-H", self.host, *words], check=True, capture_output=True, text=True, **options)

    def forget(self, *names):
        subprocess.run(["docker", "-H", self.host, "rmi", "-f", *names], capture_output=True, check=False)

    def pid(self):
        """The daemon's process: whoever listens on the socket."""
        path = self.host.removeprefix("unix://")
        inodes = {line.split()[6] for line in open("/proc/net/unix") if line.split()[-1] == path}
        for fd in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
            try:
                target = os.readlink(fd)
            except OSError:
                continue
            if target.startswith("socket:[") and target[8:-1] in inodes:
                return int(fd.parts[2])
        raise SystemExit(f"no process listens on {path}")


def file_sizes(count, total, source):
    """Many small files and few large ones, as below C:\\Windows."""
    weights = [source.lognormvariate(0, 1.6) for _ in range(count)]
    scale = total / sum(weights)
    return [max(1, int(weight * scale)) for weight in weights]


def make_layer(path, count, total):
    source = random.Random(7)
    noise, text = source.randbytes(32 << 20), b"Windows container layer. " * (1 << 17)
    records = {"MSWINDOWS.fileattr": "32", "LIBARCHIVE.creationtime": "1600000000.1234567"}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:

        def directory(name):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1_600_000_000
            info.pax_headers = {**records, "MSWINDOWS.fileattr": "16"}
            tar.addfile(info)

        for name in ("Files", "Files/Windows", "Files/Windows/System32", "Files/Windows/System32/config", "Files/data"):
            directory(name)
        for number, size in enumerate(file_sizes(count, total, source)):
            if number % 100 == 0:
                directory(f"Files/data/{number // 100:04}")
            info = tarfile.TarInfo(f"Files/data/{number // 100:04}/file{number:06}.dll")
            info.size, info.mode, info.mtime, info.pax_headers = size, 0o644, 1_600_000_000, records
            half, start = size // 2, source.randrange(len(noise))
            pool = noise[start:start + half] or b"x"
            body = (pool * (half // len(pool) + 1))[:half] + (text * (size // len(text) + 1))[:size - half]
            tar.addfile(info, io.BytesIO(body))


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_archive(engine, layer, digest):
    config = json.dumps({
        "architecture": "amd64", "os": engine.os, "os.version": "10.0.20348.2113", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["cmd"]}, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "bench"}],
    }).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [f"{IMAGE}:latest"], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(engine.archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(layer, f"{digest}/layer.tar")
        for member, body in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


def timed(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def peak(pid):
    """The most memory the process had since it was last asked, in MiB."""
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return int(status["VmHWM"].split()[0]) / 1024


def change_ten(engine, container, oriel_root):
    if engine.os == "linux":
        with tempfile.TemporaryDirectory() as folder:
            for number in range(10):
                pathlib.Path(folder, f"new{number}").write_bytes(os.urandom(1000))
            engine.docker("cp", f"{folder}/.", f"{container}:/Files/data/0000")
        return
    upper = pathlib.Path(oriel_root, "windowsfilter", container, "upper", "data", "0000")
    upper.mkdir(parents=True)
    for number in range(10):
        (upper / f"new{number}").write_bytes(os.urandom(1000))


def commit(engine, oriel_root):
    container = engine.docker("create", IMAGE, "cmd").stdout.strip()
    try:
        change_ten(engine, container, oriel_root)
        return timed(lambda: engine.docker("commit", container, f"{IMAGE}-commit"))
    finally:
        engine.docker("rm", container)
        engine.forget(f"{IMAGE}-commit")


def settle(engine, *names):
    engine.forget(*names)
    os.sync()
    time.sleep(SETTLE)


def one_round(engine, options, note):
    settle(engine, IMAGE)
    note("load", lambda: timed(lambda: engine.docker("load", "-q", "-i", str(engine.archive))))
    note("save", lambda: timed(lambda: engine.docker("save", "-o", str(engine.saved), IMAGE)))
    engine.saved.unlink()
    if options.oriel_root:
        note("commit", lambda: commit(engine, options.oriel_root))
    if options.registry:
        # A registry that has the layer already is sent nothing: each round is its own repository.
        remote = f"{options.registry}/{IMAGE}-{random.randrange(1 << 40):x}:latest"
        engine.docker("tag", IMAGE, remote)
        note("push", lambda: timed(lambda: engine.docker("push", "-q", remote)))
        settle(engine, remote, IMAGE)
        note("pull", lambda: timed(lambda: engine.docker("pull", "-q", remote)))
        engine.forget(remote)
    engine.forget(IMAGE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oriel", required=True, help="orield's socket, unix:///...")
    parser.add_argument("--dockerd-host", help="dockerd's socket, unix:///...")
    parser.add_argument("--oriel-root", help="orield's data root; without it commits are not timed")
    parser.add_argument("--registry", help="host:port of a registry on loopback; without it nothing is pushed or pulled")
    parser.add_argument("--work", default=tempfile.gettempdir(), type=pathlib.Path, help="where archives are kept")
    parser.add_argument("--files", type=int, default=40_000)
    parser.add_argument("--bytes", type=int, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = pathlib.Path(folder)
        engines = [Engine("oriel", options.oriel, "windows", work)]
        if options.dockerd_host:
            engines.append(Engine("dockerd", options.dockerd_host, "linux", work))
        layer = work / "layer.tar"
        make_layer(layer, options.files, options.bytes)
        megabytes = layer.stat().st_size / 1e6
        digest = digest_of(layer)
        for engine in engines:
            make_archive(engine, layer, digest)
        layer.unlink()
        run(engines, options, megabytes)


def run(engines, options, megabytes):
    pid = engines[0].pid()
    times, memory = {}, {}
    for _ in range(options.rounds):
        for engine in random.sample(engines, len(engines)):

            def note(verb, action, engine=engine):
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
                os.sync()
                times.setdefault((verb, engine.name), []).append(action())
                if engine is engines[0]:
                    memory[verb] = max(memory.get(verb, 0), peak(pid))

            one_round(engine, options, note)
    print(f"{options.files} files, {megabytes:.0f} MB, {options.rounds} rounds")
    print(f"{'':8} {'seconds, median [min .. max]':42} {'MB/s':>6} {'ratio':>6} {'peak':>8}")
    for verb, name in times:
        taken, other = times[verb, name], times.get((verb, "dockerd"))
        median = statistics.median(taken)
        ratio = f"x{statistics.median(other) / median:.2f}" if other else ""
        span = f"{median:.2f} [{min(taken):.2f} .. {max(taken):.2f}]"
        rate = "" if verb == "commit" else f"{megabytes / median:.0f}"
        most = f"{memory[verb]:.0f} MiB" if name == engines[0].name else ""
        print(f"{verb:8} {name:8} {span:33} {rate:>6} {ratio:>6} {most:>8}")


if __name__ == "__main__":
    main()
