#!/usr/bin/env python3
"""Times reading, merging and comparing registry hives, beside hivexml and reglookup in the same run.

    cargo build --release -p oriel-hive --example registry && bench/registry.py

Makes a hive like HKLM\\SOFTWARE of a Windows Server (over 60 MiB by default), five delta hives on it, and its text
for Wine before and after ten values change. Then times, turn by turn, whole processes:

  read    reading the hive, against hivexml and reglookup, which print it to nowhere
  merge   reading the hive and five deltas, merging them and writing text for Wine
  delta   reading both texts, finding the ten values and writing the delta hive

Prints the median wall and processor time of the rounds, the most memory, and what each takes of the processor
time of reading: wall time of a busy machine says little. `parse` is `read` without getting the file into memory,
which hivexml does not do: it maps the file.
"""

import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

TARGET = os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parent.parent / "target")


def run(words, out):
    """Wall and processor time of a process in milliseconds, and the most memory it had in MiB."""
    start = time.monotonic()
    with open(out, "w") as said:
        process = subprocess.Popen([str(word) for word in words], stdout=said, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{words[0]} failed")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=pathlib.Path(TARGET, "release/examples/registry"), type=pathlib.Path)
    parser.add_argument("--keys", type=int, default=240_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        run([options.program, "generate", work, options.keys], os.devnull)
        hive, texts = work / "SOFTWARE", (work / "old.reg", work / "new.reg")
        deltas = [work / f"delta-{number}" for number in range(1, 6)]
        jobs = {
            "read": [options.program, "read", hive],
            "hivexml": ["hivexml", hive],
            "reglookup": ["reglookup", hive],
            "merge": [options.program, "merge", hive, *deltas, work / "merged.reg"],
            "delta": [options.program, "delta", *texts, work / "changed"],
        }
        jobs = {name: words for name, words in jobs.items() if shutil.which(words[0])}
        figures = {name: [] for name in [*jobs, "parse"]}
        for _ in range(options.rounds):
            for name in random.sample(list(jobs), len(jobs)):
                out = work / "said" if name == "read" else os.devnull
                figures[name].append(run(jobs[name], out))
            words = (work / "said").read_text().split()
            figures["parse"].append((float(words[3]), float(words[0]), 0))
        sizes = ", ".join(f"{path.name} {path.stat().st_size / 2**20:.1f} MiB" for path in (hive, *texts))
        print(f"{sizes}, delta of ten values {(work / 'changed').stat().st_size / 1024:.0f} KiB")
        report({name: [statistics.median(column) for column in zip(*rounds)] for name, rounds in figures.items()})


def report(medians):
    for name, (wall, processor, memory) in medians.items():
        ratios = ""
        if name in ("hivexml", "reglookup"):
            read, parse = (processor / medians[other][1] for other in ("read", "parse"))
            ratios = f", {read:.1f} times read, {parse:.1f} times parse"
        room = f"{memory:5.0f} MiB" if memory else "         "
        print(f"{name:10} {wall:7.0f} ms wall, {processor:7.0f} ms processor, {room}{ratios}")


if __name__ == "__main__":
    main()
