#!/usr/bin/env python3
"""Times `docker build` on orield beside dockerd with an image of Debian and Wine, turn by turn in one run.

    scripts/with-dockerd FOLDER bench/builds.py --oriel unix:///run/oriel.sock --wine wine.tar

`wine.tar` is a root file system with Wine, such as

    mmdebstrap --variant=essential --components=main --include=wine64,wine trixie wine.tar

from which the image of dockerd is made. The same steps are built on both, in four ways:

cold      FROM, COPY and three RUN, nothing from the cache; `cold-N` is the same with N RUN
cached    the same again
late      three RUN from the cache, then a COPY of a file that changed
few, many one COPY of a context of 300 MB, in 6 or in 20 000 files, all of which changed

dockerd builds with its classic builder and, when the client has buildx, with BuildKit. Prints the median of the
rounds, the ratio to Oriel, and the most memory that orield had at once. Only ratios taken in one run say anything:
other load moves the figures of a machine by a factor of two.
"""

import argparse
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

from images import Engine, peak, timed

IMAGE = "oriel-bench-builds"


class Builder:
    """One way to build: an engine, its Windows image, and how both call things."""

    def __init__(self, name, host, base, directory, step, buildkit):
        self.name, self.host, self.base, self.directory, self.step = name, host, base, directory, step
        self.environment = {**os.environ, "DOCKER_BUILDKIT": buildkit}

    def steps(self, count):
        """RUN instructions that each write a file."""
        return [f"RUN {self.step.format(number)}\n" for number in range(count)]

    def build(self, context, *options):
        command = ["docker", "-H", self.host, "build", "-q", *options, "-t", f"{IMAGE}-{self.name}", str(context)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: {done.stdout}{done.stderr}")

    def dockerfile(self, context, *lines):
        text = f"FROM {self.base}\n" + "".join(lines)
        pathlib.Path(context, "Dockerfile").write_text(text)

    def forget(self):
        subprocess.run(["docker", "-H", self.host, "rmi", "-f", f"{IMAGE}-{self.name}"], capture_output=True, check=False)
        subprocess.run(["docker", "-H", self.host, "image", "prune", "-f"], capture_output=True, check=False)


def wine_image(host, archive):
    """The image of dockerd: Wine with a prefix that has been started once."""

    def docker(*words, **options):
        return subprocess.run(["docker", "-H", host, *words], check=True, capture_output=True, **options)

    with open(archive, "rb") as file:
        settings = {"PATH": "/usr/lib/wine:/usr/sbin:/usr/bin:/sbin:/bin", "WINEPREFIX": "/prefix",
                    "WINEDEBUG": "-all", "HOME": "/root"}
        changes = [word for pair in settings.items() for word in ("-c", "ENV " + "=".join(pair))]
        docker("import", *changes, "-", "wineroot", stdin=file)
    script = "mkdir -p /prefix && wine64 wineboot -i >/dev/null 2>&1; wineserver64 -w; test -e /prefix/system.reg"
    docker("run", "--name", "mkprefix", "wineroot", "sh", "-c", script)
    docker("commit", "mkprefix", "winebase")
    docker("rm", "mkprefix")


def make_context(folder, count, total):
    source = random.Random(7)
    noise = source.randbytes(8 << 20)
    for number in range(count):
        directory = pathlib.Path(folder, f"{number // 100:04}")
        directory.mkdir(parents=True, exist_ok=True)
        size, start = total // count, source.randrange(len(noise))
        body = noise[start:]
        while len(body) < size:
            body += noise
        (directory / f"file{number:06}.bin").write_bytes(body[:size])


def change(folder):
    """Makes all files differ from those of any round before."""
    stamp = os.urandom(16)
    for file in pathlib.Path(folder).rglob("*.bin"):
        with open(file, "r+b") as opened:
            opened.write(stamp)


def cases(options):
    """Names of the cases with what prepares each and what is timed."""

    def cold(builder, work, count):
        (work / "a.txt").write_text("a\n")
        builder.dockerfile(work, f"COPY a.txt {builder.directory}/\n", *builder.steps(count))

    def late(builder, work):
        builder.dockerfile(work, *builder.steps(3), f"COPY a.txt {builder.directory}/\n")
        (work / "a.txt").write_text("first\n")
        builder.build(work)
        (work / "a.txt").write_text(f"{os.urandom(8).hex()}\n")

    def large(builder, work):
        builder.dockerfile(work, f"COPY . {builder.directory}/\n")
        change(work)

    def cached(builder, work):
        cold(builder, work, 3)
        builder.build(work)

    everything = {
        "cold": (lambda b, w: cold(b, w, 3), ("--no-cache",)),
        "cold-10": (lambda b, w: cold(b, w, 10), ("--no-cache",)),
        "cached": (cached, ()),
        "late": (late, ()),
        "few": (large, ("--no-cache",)),
        "many": (large, ("--no-cache",)),
    }
    return {name: everything[name] for name in options.cases.split(",")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oriel", required=True, help="orield's socket, unix:///...")
    parser.add_argument("--oriel-base", default="nanoserver")
    parser.add_argument("--wine", type=pathlib.Path, help="root file system with Wine; without it orield is alone")
    parser.add_argument("--cases", default="cold,cold-10,cached,late,few,many")
    parser.add_argument("--bytes", type=int, default=300_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", default=tempfile.gettempdir(), type=pathlib.Path, help="where contexts are kept")
    options = parser.parse_args()
    builders = [Builder("oriel", options.oriel, options.oriel_base, "C:/app", r"echo {0}> C:\{0}.txt", "0")]
    if options.wine:
        host = os.environ["DOCKER_HOST"]
        wine_image(host, options.wine)
        wine = ("winebase", "/prefix/drive_c/app", r"wine64 cmd /c 'echo {0}> C:\{0}.txt'")
        builders.append(Builder("docker", host, *wine, "0"))
        if subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0:
            builders.append(Builder("buildkit", host, *wine, "1"))
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        run(builders, options, pathlib.Path(folder))


def run(builders, options, folder):
    pid = Engine("oriel", options.oriel, "windows", folder).pid()
    times, memory = {}, {}
    for name, (prepare, words) in cases(options).items():
        work = folder / name
        work.mkdir()
        if prepare.__name__ == "large":
            make_context(work, {"few": 6, "many": 20_000}[name], options.bytes)
        for number in range(-1, options.rounds):
            for builder in random.sample(builders, len(builders)):
                prepare(builder, work)
                os.sync()
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
                taken = timed(lambda: builder.build(work, *words))
                if number >= 0:
                    times.setdefault((name, builder.name), []).append(taken)
                if builder.name == "oriel":
                    memory[name] = max(memory.get(name, 0), peak(pid))
                builder.forget()
        report(name, times, memory[name])


def report(name, times, most):
    own = statistics.median(times[name, "oriel"])
    for (case, builder), taken in times.items():
        if case != name:
            continue
        median = statistics.median(taken)
        span = f"{median:7.3f} s [{min(taken):.3f} .. {max(taken):.3f}]"
        ratio = f"oriel is {own / median:.2f}x" if builder != "oriel" else f"peak {most:.0f} MiB"
        print(f"{case:8} {builder:9} {span:32} {ratio}", flush=True)


if __name__ == "__main__":
    main()
