"""testcontainers for Python: a container for a test, waited for and reached through a mapped port.

The helper container that removes what a test leaves is a Linux image of testcontainers' own; it is
switched off, as its makers advise for daemons of Windows containers.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import urllib.request

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import importlib.metadata  # noqa: E402

import docker  # noqa: E402
from testcontainers.core.container import DockerContainer  # noqa: E402
from testcontainers.core.image import DockerImage  # noqa: E402
from testcontainers.core.network import Network  # noqa: E402
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy  # noqa: E402

from steps import Steps, expect, guest  # noqa: E402

step = Steps()
programs = pathlib.Path(os.environ["ORIEL_TEST_PROGRAMS"])
root = pathlib.Path(__file__).parents[3]


@step
def a_log_line_is_waited_for(world):
    container = DockerContainer(world["image"]).with_command(world["shell"] + [world["twice"] + "&" + world["idle"]
        if world["shell"][0] == "cmd" else world["twice"] + ";" + world["idle"]])
    with container.waiting_for(LogMessageWaitStrategy("second")) as running:
        out, err = running.get_logs()
        expect(b"first" in out and err == b"", (out, err))
        result = running.exec(world["shell"] + ["exit 3"])
        expect(result.exit_code == 3, result)


@step
def containers_of_a_network_find_each_other(world):
    with Network() as network:
        told = world["shell"] + [world["idle"]]
        neighbour = DockerContainer(world["image"]).with_command(told).with_network(network)
        with neighbour.with_network_aliases("neighbour"):
            with DockerContainer(world["image"]).with_command(told).with_network(network) as one:
                result = one.exec(world["shell"] + [world["find_neighbour"]])
                expect(result.exit_code == 0, result)


@step
def environment_and_volumes_are_given(world):
    folder = pathlib.Path("shared")
    folder.mkdir()
    (folder / "file.txt").write_text("from the host")
    container = DockerContainer(world["image"]).with_command(world["shell"] + [world["idle"]])
    container = container.with_env("WORD", "given").with_volume_mapping(str(folder.resolve()), world["folder"], "ro")
    with container as running:
        expect(running.exec(world["shell"] + [world["show_variable"]]).output.strip() == b"given", "env")
        expect(running.exec(world["shell"] + [world["read"]]).output.strip() == b"from the host", "volume")


@step
def postgresql_is_a_fixture(world):
    if world["shell"][0] != "cmd":
        return
    context = pathlib.Path("postgres")
    shutil.copytree(programs / "postgres/native", context / "pgsql")
    shutil.copy(root / "demo/postgres/Dockerfile", context)
    with DockerImage(path=context, tag="testcontainers-postgres:1") as image:
        container = DockerContainer(str(image)).with_exposed_ports(5432)
        with container.waiting_for(LogMessageWaitStrategy("ready to accept connections")) as running:
            host, port = running.get_container_host_ip(), running.get_exposed_port(5432)
            url = f"host={host} port={port} user=postgres dbname=postgres connect_timeout=10"
            answer = subprocess.run(["psql", "-Atc", "select 6 * 7", url], check=True, capture_output=True)
            expect(answer.stdout.strip() == b"42", answer)


@step
def a_web_server_is_waited_for(world):
    if world["shell"][0] != "cmd":
        return
    context = pathlib.Path("web")
    context.mkdir()
    shutil.copy(programs / "deno/deno.exe", context)
    (context / "Dockerfile").write_text(f"FROM {world['image']}\nCOPY deno.exe C:/\nCMD C:\\deno.exe eval "
                                        "\"Deno.serve({port: 80}, () => new Response('served'))\"\n")
    with DockerImage(path=context, tag="testcontainers-web:1") as image:
        container = DockerContainer(str(image)).with_exposed_ports(80)
        with container.waiting_for(HttpWaitStrategy(80).for_status_code(200)) as running:
            url = f"http://{running.get_container_host_ip()}:{running.get_exposed_port(80)}/"
            with urllib.request.urlopen(url, timeout=20) as answer:
                expect(answer.read() == b"served", "answer")


if __name__ == "__main__":
    print(f"version: testcontainers {importlib.metadata.version('testcontainers')}")
    step.run(guest(docker.from_env(version="auto").version()["Os"]))
