"""Forbidden addresses, however they are written and reached: no connection is begun to any."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

import pytest

from pipeline.download.outcomes import Failed, Outcome
from tests.download.photo_server import PhotoServer
from tests.download.test_addresses import NETWORKS, inside
from tests.download.web_client import HERE, fetch

METADATA = ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "10.0.0.1")
ELSEWHERE = ("127.0.0.2", "127.255.255.254", "192.168.1.1", "172.16.0.1", "0.0.0.0", *METADATA)


def plain() -> list[str]:
    """Addresses of each special network: the first, the last, and one between."""
    rng = random.Random(1)
    texts = [text for network in NETWORKS for text in inside(network, rng)[:3]]
    return list(dict.fromkeys(text for text in texts if text != HERE))


def spellings(text: str) -> list[str]:
    """The ways in which browsers, libraries and resolvers let an IPv4 address be written."""
    a, b, c, d = text.split(".")
    number = int(IPv4Address(text))
    mapped = IPv6Address(0xFFFF << 32 | number)
    nat64 = IPv6Address(0x64FF9B << 96 | number)
    six_to_four = IPv6Address(0x2002 << 112 | number << 80 | 1)
    return [
        str(number), hex(number), f"0{number:o}", hex(number).upper().replace("0X", "0x"),
        f"0x{int(a):x}.0x{int(b):x}.0x{int(c):x}.0x{int(d):x}",
        f"0{int(a):o}.0{int(b):o}.0{int(c):o}.0{int(d):o}",
        f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}",
        f"0x{int(a):X}.{b}.{c}.0{int(d):o}",
        f"{text}.", f"%{ord(a[0]):x}{text[1:]}", text.replace(".", "%2e"), text.replace(".", "。"),
        text.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
        f"[{mapped}]", f"[::ffff:{text}]", f"[{nat64}]", f"[{six_to_four}]", f"[::{text}]",
        f"shop.example@{text}", f"shop.example:80@{text}", f"{text}:80@{text}",
    ]  # fmt: skip


def hosts() -> list[str]:
    """Every address, and every spelling of some, as they stand in URLs."""
    written = [f"[{text}]" if ":" in text else text for text in plain()]
    written += [spelled for text in ELSEWHERE for spelled in spellings(text)]
    return list(dict.fromkeys(written))


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses to which connections were begun."""
    begun: list[str] = []
    connect = BaseSelectorEventLoop.sock_connect

    async def spy(
        loop: BaseSelectorEventLoop, sock: socket.socket, address: tuple[str, int]
    ) -> None:
        begun.append(address[0])
        if address[0] != HERE:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "not in a test")
        await connect(loop, sock, address)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", spy)
    return begun


def reasons(outcomes: Mapping[str, Outcome]) -> set[str]:
    return {o.reason if isinstance(o, Failed) else "fetched" for o in outcomes.values()}


def test_the_list_is_as_long_as_the_one_tried_before() -> None:
    assert len(hosts()) >= 274


def test_no_forbidden_address_in_a_table_is_connected_to(connected: list[str]) -> None:
    urls = [f"http://{host}/a.jpg" for host in hosts()]
    urls += [f"http://{host}\\@shop.example/a.jpg" for host in ELSEWHERE]
    names = {"shop.example": ["127.0.0.9"]}
    outcomes = fetch(urls, names=names, allow_addresses=(), per_host=64)
    assert reasons(outcomes) == {"forbidden address"}
    assert connected == []


def test_no_redirect_leads_to_a_forbidden_address(connected: list[str]) -> None:
    with PhotoServer() as server:
        for number, host in enumerate(hosts()):
            head = (
                f"HTTP/1.1 302 Found\r\nLocation: http://{host}/a.jpg\r\nConnection: close\r\n\r\n"
            )
            server.raw[f"/{number}.jpg"] = head.encode()
        urls = [f"{server.address}{path}" for path in server.raw]
        assert reasons(fetch(urls, per_host=32)) == {"forbidden address"}
        assert len(server.requests) == len(urls)
    assert set(connected) == {HERE}


def test_no_name_leads_to_a_forbidden_address(connected: list[str]) -> None:
    names = {f"shop{number}.example": [text] for number, text in enumerate(plain())}
    outcomes = fetch([f"http://{name}/a.jpg" for name in names], names=names, allow_addresses=())
    assert reasons(outcomes) == {"forbidden address"}
    assert connected == []


def test_a_public_address_is_connected_to(connected: list[str]) -> None:
    """The spy sees connections."""
    outcomes = fetch(["http://8.8.8.8/", "http://0x08080404/"], attempts=1)
    assert reasons(outcomes) == {"connection refused"}
    assert sorted(connected) == ["8.8.4.4", "8.8.8.8"]
