#!/usr/bin/env python3
"""Times `docker run --rm IMAGE cmd /c echo hi` on several daemons, turn by turn in one run.

    bench/start.py --rounds 10 oriel=unix:///run/oriel.sock,nanoserver \
                               docker=unix:///run/docker.sock,winebase,wine64

Each contestant is NAME=SOCKET,IMAGE[,WORD...]; the words go before the Windows command line. Prints the
median, minimum and maximum in milliseconds and the ratio to the first contestant. Only ratios taken in one
run say anything: other load moves the figures of a machine by a factor of two.
"""

import argparse
import random
import statistics
import subprocess
import time


def contestant(text):
    name, rest = text.split("=", 1)
    socket, image, *words = rest.split(",")
    command = ["docker", "-H", socket, "run", "--rm", image, *words, "cmd", "/c", "echo", "hi"]
    return name, command


def once(command):
    start = time.monotonic()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    milliseconds = (time.monotonic() - start) * 1000
    assert output.strip() == "hi", output
    return milliseconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestants", nargs="+", type=contestant)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    times = {name: [] for name, _ in options.contestants}
    for round_number in range(-1, options.rounds):
        for name, command in random.sample(options.contestants, len(options.contestants)):
            taken = once(command)
            if round_number >= 0:
                times[name].append(taken)
    first = statistics.median(times[options.contestants[0][0]])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:16} {median:7.0f} ms  [{min(taken):.0f} .. {max(taken):.0f}]  x{median / first:.2f}")


if __name__ == "__main__":
    main()
