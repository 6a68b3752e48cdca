"""A service that runs: real requests to a real server, on a free port."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.service.app import create_app
from pipeline.service.published import PublishedState
from pipeline.service.server import Address, Server
from tests.engines import Fair, Thing, fairs, open_fair

__all__ = ["open_fair"]

JSON = {"Content-Type": "application/json"}
BOUNDARY = "the-boundary"


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests to a service, each on a connection of its own."""

    port: int

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def ask(self, **content: Any) -> Answer:
        """Search with JSON."""
        return self.request("POST", "/api/search", json.dumps(content).encode(), JSON)

    def send_form(self, path: str, fields: Mapping[str, str], photo: bytes | None = None) -> Answer:
        """Search with a form, as browsers send it."""
        parts = [(f'name="{name}"', text.encode()) for name, text in fields.items()]
        if photo is not None:
            parts.append(('name="photo"; filename="a.png"', photo))
        lines = [
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body
            for head, body in parts
        ]
        body = b"\r\n".join([*lines, f"--{BOUNDARY}--\r\n".encode()])
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.request("POST", path, body, kind)


@contextmanager
def running(config: Config, *, local: bool = False) -> Iterator[Client]:
    """Run a service on a thread, within the block; `local` as it is started for this machine."""
    address = Address("127.0.0.1", 0)
    with address.listen() as listener:
        app = create_app(config, PublishedState(config), local=local)
        server = Server(app, address, grace=5)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.01)
        try:
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def with_settings(config: Config, **serve: Any) -> Config:
    """Change settings of the service."""
    changed = {**config.serve.model_dump(mode="json"), "requests_per_second": None, **serve}
    return Config.model_validate(config.model_dump(mode="json") | {"serve": changed})


THINGS = {
    "apple": Thing([(250, 0, 0), (240, 10, 0)], "fruit", {"price": 3, "origin": "Tyrol"}),
    "pear": Thing([(160, 200, 40)], "fruit", {"price": 4, "origin": "Kent"}),
    "plum": Thing([(90, 20, 120)], "fruit", {"price": 5}),
    "shirt": Thing([(40, 60, 220)], "clothing", {"price": 20, "origin": "Tyrol"}),
    "sock": Thing([(250, 250, 240)], "clothing", {"price": 7}),
    "tie": Thing([(240, 12, 4)], "clothing", {"price": 30}),
}


@pytest.fixture(scope="module")
def fair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fair]:
    """A catalog of six things, searched by two engines; its items and indexes are only read."""
    with fairs(tmp_path_factory.mktemp("fair")) as open_:
        fair = open_()
        fair.build(THINGS)
        yield fair


@pytest.fixture(scope="module")
def client(fair: Fair) -> Iterator[Client]:
    """A service for that catalog, without limits on how often it is asked."""
    with running(with_settings(fair.config)) as client:
        yield client
