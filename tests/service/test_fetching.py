"""Photos at URLs: fetched from where it is allowed, and no connection to anywhere else."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.conftest import png
from tests.engines import Fair
from tests.service.conftest import running, with_settings

PHOTO = png((250, 0, 0))
# Addresses of this machine or a network of its own, in as many spellings as there are.
FORBIDDEN = [
    "http://127.0.0.1:{port}/a.png",
    "http://localhost:{port}/a.png",
    "http://LOCALHOST.:{port}/a.png",
    "http://2130706433:{port}/a.png",
    "http://0x7f000001:{port}/a.png",
    "http://0x7f.1:{port}/a.png",
    "http://0177.0.0.1:{port}/a.png",
    "http://127.1:{port}/a.png",
    "http://127.255.255.254:{port}/a.png",
    "http://0.0.0.0:{port}/a.png",
    "http://0:{port}/a.png",
    "http://[::1]:{port}/a.png",
    "http://[::]:{port}/a.png",
    "http://[::ffff:127.0.0.1]:{port}/a.png",
    "http://[0:0:0:0:0:ffff:7f00:1]:{port}/a.png",
    "http://[::127.0.0.1]:{port}/a.png",
    "http://[64:ff9b::7f00:1]:{port}/a.png",
    "http://user:password@127.0.0.1:{port}/a.png",
    "http://example.com@127.0.0.1:{port}/a.png",
    "http://127.0.0.1:{port}\\@example.com/a.png",
    "http://%31%32%37.0.0.1:{port}/a.png",
    "http://127。0。0。1:{port}/a.png",
    "http:\\\\127.0.0.1:{port}\\a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/a.png",
    "http://192.168.0.1/a.png",
    "http://100.100.100.200/latest/meta-data/",
    "http://[fe80::1]/a.png",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/a.png",
    "gopher://127.0.0.1:{port}/a.png",
    "data:image/png;base64,AAAA",
]


@dataclass
class Site:
    """A server on this machine, and the paths that it was asked for."""

    port: int
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.paths.append(self.path)
            hops, _, _ = self.path.removeprefix("/hop").partition("?")
            if self.path.startswith("/hop") and int(hops):
                self.send_response(302)
                self.send_header("Location", f"/hop{int(hops) - 1}")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PHOTO if self.path != "/text" else b"no photo")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Site(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_forbidden_address_is_connected_to(fair: Fair, site: Site) -> None:
    # What the downloads of the catalog may do is no reason to let strangers do it.
    download = fair.config.download.model_copy(
        update={
            "allow_addresses": with_settings(
                fair.config, allow_addresses=["127.0.0.0/8"]
            ).serve.allow_addresses
        }
    )
    config = with_settings(fair.config).model_copy(update={"download": download})
    with running(config) as client:
        for url in FORBIDDEN:
            answer = client.ask(url=url.format(port=site.port))
            assert answer.status in (400, 502), (url, answer.body)
            assert answer.json["code"] == "url"
    assert site.paths == []


def test_an_address_that_is_allowed_is_fetched_from(fair: Fair, site: Site) -> None:
    base = f"http://127.0.0.1:{site.port}"
    with running(with_settings(fair.config, allow_addresses=["127.0.0.0/8"])) as client:
        found = client.ask(url=f"{base}/a.png", k=1)
        assert found.json["engines"] == client.post("/api/search?k=1", PHOTO).json["engines"]
        assert client.ask(url=f"{base}/hop2").status == 200
        assert client.ask(url=f"{base}/hop3").status == 502  # redirects
        assert client.ask(url=f"{base}/text").status == 415
        assert "/robots.txt" not in site.paths


def test_photos_at_urls_can_be_switched_off(fair: Fair, site: Site) -> None:
    settings = with_settings(fair.config, fetch_urls=False, allow_addresses=["127.0.0.0/8"])
    with running(settings) as client:
        assert client.ask(url=f"http://127.0.0.1:{site.port}/a.png").status == 400
    assert site.paths == []
