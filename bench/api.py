#!/usr/bin/env python3
"""Times `GET /containers/json` with many containers on orield and on dockerd, turn by turn in one run.

    bench/api.py oriel=/run/oriel.sock,nanoserver dockerd=/run/docker.sock,

Each contestant is NAME=SOCKET,IMAGE; without an image a tiny one is imported. The containers have labels, ports and
a volume each, as those of Compose do; they are created and not started, and removed at the end. Every round asks
each contestant for some seconds over a few connections that stay open, one process a connection.

Prints requests a second, the median and the 99th percentile of the time of a request, the processor time that the
daemon took for one, its resident memory before and after, and ratios to the last contestant. Only ratios taken in
one run say anything: other load moves the figures of a machine by a factor of two.
"""

import argparse
import http.client
import io
import json
import multiprocessing
import os
import pathlib
import random
import socket
import statistics
import struct
import tarfile
import time
import urllib.parse

IMAGE = "oriel-bench-api"
LABEL = "oriel.bench"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, text):
        self.name, rest = text.split("=", 1)
        self.socket, self.image = rest.split(",", 1)
        self.rates, self.times, self.work = [], [], []

    def ask(self, method, path, body=None, headers=None):
        connection = Unix(self.socket)
        connection.request(method, path, body, headers or {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        assert answer.status < 300, f"{self.name}: {method} {path}: {answer.status} {data[:300]}"
        return data

    def pid(self):
        """The daemon's process: whoever listens on the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", peer)[0]

    def seconds(self):
        """Processor time that the daemon has taken."""
        fields = pathlib.Path(f"/proc/{self.pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident memory in MiB, and how much of it nobody shares with a file."""
        lines = pathlib.Path(f"/proc/{self.pid()}/smaps_rollup").read_text().splitlines()[1:]
        figures = {key: int(rest.split()[0]) / 1024 for key, rest in (line.split(":") for line in lines)}
        return figures["Rss"], figures["Anonymous"]

    def prepare(self, count):
        self.clear()
        if not self.image:
            self.ask("POST", f"/images/create?fromSrc=-&repo={IMAGE}", tiny(), {"Content-Type": "application/x-tar"})
            self.image = IMAGE
        for number in range(count):
            body = {
                "Image": self.image, "Cmd": ["server", "--port", "80"], "Env": ["A=1", "B=2"],
                "ExposedPorts": {"80/tcp": {}}, "Volumes": {"C:\\data" if self.windows() else "/data": {}},
                "Labels": {LABEL: "1", **{f"com.docker.compose.{key}": f"value-{number}" for key in "abcdefgh"}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}},
            }
            self.ask("POST", f"/containers/create?name=bench-{number}", json.dumps(body))

    def windows(self):
        return json.loads(self.ask("GET", "/version"))["Os"] == "windows"

    def clear(self):
        filters = urllib.parse.quote(json.dumps({"label": [LABEL]}))
        for found in json.loads(self.ask("GET", f"/containers/json?all=1&filters={filters}")):
            self.ask("DELETE", f"/containers/{found['Id']}?force=1&v=1")

    def round(self, seconds, connections):
        before = self.seconds()
        with multiprocessing.Pool(connections) as pool:
            results = pool.starmap(hammer, [(self.socket, seconds)] * connections)
        times = sorted(taken for result in results for taken in result)
        self.rates.append(len(times) / seconds)
        self.times += times
        self.work.append((self.seconds() - before) / len(times))


def hammer(path, seconds):
    """Asks over one connection until the time is over; the time of each request in seconds."""
    request = b"GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: docker\r\n\r\n"
    times = []
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        buffer = bytearray(1 << 20)
        end = time.monotonic() + seconds
        while (begin := time.monotonic()) < end:
            stream.sendall(request)
            receive(stream, buffer)
            times.append(time.monotonic() - begin)
    return times


def receive(stream, buffer):
    """Reads one answer: of a stated length, or in chunks."""
    have, end = 0, -1
    while end < 0:
        have += count(stream, buffer, have)
        end = buffer.find(b"\r\n\r\n", 0, have)
    head = bytes(buffer[:end]).lower()
    assert b" 200 " in head.split(b"\r\n")[0], head
    if b"content-length: " in head:
        total = end + 4 + int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        while have < total:
            have += count(stream, buffer, have)
    else:
        while buffer[have - 5:have] != b"0\r\n\r\n":
            have += count(stream, buffer, have)


def count(stream, buffer, have):
    received = stream.recv_into(memoryview(buffer)[have:])
    assert received, "the daemon hung up"
    return received


def tiny():
    """The archive of an image."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    return data.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", type=Engine)
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    engines = options.engines
    idle = {engine.name: engine.memory() for engine in engines}
    try:
        for engine in engines:
            engine.prepare(options.containers)
            engine.round(1, options.connections)
            engine.rates, engine.times, engine.work = [], [], []
        for _ in range(options.rounds):
            for engine in random.sample(engines, len(engines)):
                engine.round(options.seconds, options.connections)
        report(engines, idle)
    finally:
        for engine in engines:
            engine.clear()


def report(engines, idle):
    last = statistics.median(engines[-1].rates)
    print(f"{'':12}{'requests/s':>12}{'median':>10}{'p99':>10}{'cpu each':>11}{'rss before, after (anonymous)':>36}  ratio")
    for engine in engines:
        times = sorted(engine.times)
        rate = statistics.median(engine.rates)
        (rss, own), (rss_after, own_after) = idle[engine.name], engine.memory()
        print(
            f"{engine.name:12}{rate:12.0f}{statistics.median(times) * 1e3:7.2f} ms"
            f"{times[len(times) * 99 // 100] * 1e3:7.2f} ms{statistics.mean(engine.work) * 1e6:8.0f} us"
            f"{rss:12.1f} ({own:.1f}), {rss_after:.1f} ({own_after:.1f}) MiB{rate / last:8.2f}"
        )


if __name__ == "__main__":
    main()
