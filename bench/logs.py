#!/usr/bin/env python3
"""Times logs on several daemons, turn by turn in one run: writing, reading all, reading the last ten lines.

    bench/logs.py --megabytes 50 --rounds 3 oriel=unix:///run/oriel.sock,nanoserver \
                                            local=unix:///run/oriel.sock,nanoserver,--log-driver=local

Each contestant is NAME=SOCKET,IMAGE[,OPTION...]; the options are for `docker run`. The program is `cmd /c type` of
a file with lines of 80 characters. Prints medians in milliseconds and the ratio to the first contestant. Only ratios
taken in one run say anything.
"""

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time

LINE = b"0123456789" * 7 + b"01234567\r\n"


def contestant(text):
    name, rest = text.split("=", 1)
    socket, image, *options = rest.split(",")
    return name, ["docker", "-H", socket], image, options


def timed(command):
    start = time.monotonic()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return (time.monotonic() - start) * 1000, output


def once(docker, image, options, directory):
    mount = ["-v", f"{directory}:C:\\bench:ro"]
    program = [image, "cmd", "/c", "type", "C:\\bench\\lines"]
    start = time.monotonic()
    identity = timed([*docker, "run", "-d", *options, *mount, *program])[1].decode().strip()
    subprocess.run([*docker, "wait", identity], check=True, stdout=subprocess.DEVNULL)
    write = (time.monotonic() - start) * 1000
    read, whole = timed([*docker, "logs", identity])
    tail, last = timed([*docker, "logs", "--tail", "10", identity])
    assert whole.endswith(last) and last == LINE * 10, last
    subprocess.run([*docker, "rm", identity], check=True, stdout=subprocess.DEVNULL)
    return {"write": write, "read": read, "tail": tail}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestants", nargs="+", type=contestant)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times = {name: [] for name, *_ in options.contestants}
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "lines"), "wb") as lines:
            lines.write(LINE * (options.megabytes * 1_000_000 // len(LINE)))
        os.chmod(directory, 0o755)
        for _ in range(options.rounds):
            for name, *rest in random.sample(options.contestants, len(options.contestants)):
                times[name].append(once(*rest, directory))
    first = times[options.contestants[0][0]]
    for name, taken in times.items():
        for what in ("write", "read", "tail"):
            median = statistics.median(one[what] for one in taken)
            ratio = median / statistics.median(one[what] for one in first)
            print(f"{name:16} {what:6} {median:7.0f} ms  x{ratio:.2f}")


if __name__ == "__main__":
    main()
