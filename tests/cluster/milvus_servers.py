"""Real Milvus servers: standalone, and as a cluster of processes of the same binary.

A cluster needs `etcd` (Debian's etcd-server) for what it knows and a Kafka broker for its log: here
librdkafka's mock broker, which lives in a process of its own. That forgets what is more than 5 MB
old, read or not: tests insert less at a time.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import yaml

from pipeline.config import MilvusSettings
from pipeline.errors import VectorDatabaseError
from pipeline.index.milvus.server import MilvusServer

STARTING = 90  # seconds
ROLES = ("rootcoord", "datacoord", "querycoord", "indexnode", "datanode", "proxy")
PORTS = iter(range(10_000 + os.getpid() % 20_000, 32_768))
"""To listen at. From 32,768 on Linux takes them for connections, also ones that were just free."""
_BROKER = """
import time
from confluent_kafka.admin import AdminClient
client = AdminClient({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
broker = next(iter(client.list_topics(timeout=30).brokers.values()))
print(f"{broker.host}:{broker.port}", flush=True)
while True:
    time.sleep(60)
"""


def free_port() -> int:
    """A port that nothing listens at, another one each time."""
    for port in PORTS:
        with socket.socket() as listening, suppress(OSError):
            listening.bind(("", port))
            return port
    raise AssertionError("there is no port left")


class Standalone:
    """`milvus run standalone`, which keeps its data when it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._prepare()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.run("standalone", "standalone")
        self.wait()

    def kill(self, name: str = "standalone") -> None:
        """End one of its processes at once."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def wait(self) -> None:
        """Wait until it answers."""
        server = MilvusServer(MilvusSettings(uri=self.uri))
        with closing(server):
            wait_until(lambda: self._answers(server))

    def _answers(self, server: MilvusServer) -> bool:
        ended = [name for name, process in self.processes.items() if process.poll() is not None]
        assert not ended, f"{ended} ended; see {self.folder}/*.log"
        server.call("list_collections", seconds=2)
        return True

    def run(self, name: str, role: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        binary = self.folder / "bin" / "milvus"
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE" if role == "standalone" else "DISTRIBUTED",
            "LD_LIBRARY_PATH": str(binary.parent),
            "METRICS_PORT": str(free_port()),
            "QUERYNODE_PORT": str(free_port()),  # of which there are several
            "MILVUSCONF": str(self.folder / "configs"),
            "MILVUS_RUN_DIR": str(self.folder / f"run-{name}"),
        }
        # A session of its own: an interrupt of the tests does not reach it before they end it.
        self.processes[name] = subprocess.Popen(
            [str(binary), "run", role, "--alias", f"{self.port}-{name}"],  # for its lock's name
            cwd=self.folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _prepare(self) -> None:
        milvus = pytest.importorskip("milvus", reason="milvus is in .venv-cluster")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = milvus.MilvusServerConfig(data_dir=str(self.folder), proxy_port=self.port)
        config.resolve()
        milvus._initialize_data_files(str(self.folder))
        file = self.folder / "configs" / "milvus.yaml"
        settings = yaml.safe_load(file.read_text())
        self.configure(settings)
        file.write_text(yaml.safe_dump(settings))

    def configure(self, settings: dict[str, dict[str, object]]) -> None:
        settings["log"]["level"] = "warn"
        for role in ("rootCoord", "dataCoord", "queryCoord", "queryNode", "indexNode", "dataNode"):
            settings[role] |= {"ip": "127.0.0.1", "port": free_port()}
        settings["proxy"]["internalPort"] = free_port()
        here, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        etcd = {"name": "one", "data-dir": str(self.folder / "data" / "etcd")}
        etcd |= {"listen-client-urls": here, "advertise-client-urls": here}
        etcd |= {"listen-peer-urls": peer, "initial-advertise-peer-urls": peer}
        file = self.folder / "configs" / "etcd.yaml"
        file.write_text(yaml.safe_dump(etcd | {"initial-cluster": f"one={peer}"}))
        settings["etcd"]["config"] = {"path": str(file)}


class Secured(Standalone):
    """With TLS, by a certificate of its own, and with passwords: those of Milvus's `root`."""

    @property
    def uri(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    def configure(self, settings: dict[str, dict[str, object]]) -> None:
        super().configure(settings)
        key = self.folder / "server.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        settings["tls"] = {"serverPemPath": str(self.certificate), "serverKeyPath": str(key)}
        settings["common"]["security"] = {"authorizationEnabled": True, "tlsMode": 1}

    def wait(self) -> None:
        wait_until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0


class Cluster(Standalone):
    """Each role as a process, with several query nodes."""

    def __init__(self, folder: Path, query_nodes: int = 2) -> None:
        if shutil.which("etcd") is None:
            pytest.skip("etcd is not installed (Debian: etcd-server)")
        pytest.importorskip("confluent_kafka")
        self.etcd, self.query_nodes = free_port(), query_nodes
        self.broker = ""
        self.others = self._start_others(folder)
        super().__init__(folder)

    def start(self) -> None:
        for role in ROLES:
            self.run(role, role)
        for number in range(self.query_nodes):
            self.run(f"querynode{number}", "querynode")
        self.wait()

    def stop(self) -> None:
        super().stop()
        for process in self.others:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def configure(self, settings: dict[str, dict[str, object]]) -> None:
        super().configure(settings)
        settings["etcd"] |= {"endpoints": f"127.0.0.1:{self.etcd}", "use": {"embed": False}}
        settings["mq"] = {"type": "kafka"}
        settings["kafka"] = {"brokerList": self.broker}
        # Of any broker: far below the 5 MB that the mock keeps of a partition.
        settings["pulsar"]["maxMessageSize"] = 500_000
        settings["rootCoord"]["dmlChannelNum"] = 4

    def _start_others(self, folder: Path) -> list[subprocess.Popen[bytes]]:
        folder.mkdir(parents=True, exist_ok=True)
        broker = subprocess.Popen([sys.executable, "-c", _BROKER], stdout=subprocess.PIPE)
        assert broker.stdout is not None
        self.broker = broker.stdout.readline().decode().strip()
        here, peer = f"http://127.0.0.1:{self.etcd}", f"http://127.0.0.1:{free_port()}"
        command = ["etcd", "--data-dir", str(folder / "etcd"), "--name", "one"]
        command += ["--listen-client-urls", here, "--advertise-client-urls", here]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"one={peer}"]
        log = (folder / "etcd.log").open("ab")
        etcd = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        return [broker, etcd]


def wait_until(holds: Callable[[], bool], seconds: float = STARTING) -> None:
    """Wait until something holds; an error of the server counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except VectorDatabaseError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
