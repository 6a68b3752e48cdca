"""addresses.py: which addresses are connected to."""

from __future__ import annotations

import random
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.download.addresses import ForbiddenAddressError, guarded_sockets, may_connect

# The IANA registries of special-purpose addresses (IPv4, IPv6), whatever they say about reaching
# them, but for blocks that are meant to be used by everybody (AS112, AMT, direct delegation).
SPECIAL_4 = """
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32
    192.0.2.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 240.0.0.0/4 255.255.255.255/32 224.0.0.0/4 239.255.255.255/32
    169.254.169.254/32 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32
"""
SPECIAL_6 = """
    ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
    2001::/32 2001:1::1/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
    2001:30::/28 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
    ::/96 fd00:ec2::254/128 fd20:ce::254/128
"""
NETWORKS = [ip_network(text) for text in (SPECIAL_4 + SPECIAL_6).split()]
PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255
    128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
    191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
    2001:200::1 2001:4860:4860::8888 2600:: 2606:4700::1111 2a00:1450::1 2001:db7:ffff::
    2001:db9:: 2003:: 3ffe:ffff:: 2620:4f:8000::1
"""


def inside(network: IPv4Network | IPv6Network, rng: random.Random) -> list[str]:
    low, high = int(network.network_address), int(network.broadcast_address)
    kind = IPv4Address if network.version == 4 else IPv6Address
    return [str(kind(n)) for n in (low, high, *(rng.randint(low, high) for _ in range(20)))]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_special_networks_may_not_be_connected_to(
    network: IPv4Network | IPv6Network,
) -> None:
    for text in inside(network, random.Random(1)):
        assert not may_connect(ip_address(text), ()), text


@pytest.mark.parametrize("text", PUBLIC.split())
def test_all_other_networks_may_be_connected_to(text: str) -> None:
    assert may_connect(ip_address(text), ())


@given(st.ip_addresses())
def test_an_address_is_refused_exactly_if_it_is_special(address: IPv4Address | IPv6Address) -> None:
    special = any(address in network for network in NETWORKS)
    given_out = address.version == 4 or int(address) >> 125 == 0b001
    assert may_connect(address, ()) == (given_out and not special)
    if may_connect(address, ()):
        assert address.is_global


@given(st.ip_addresses(v=4))
def test_embedded_ipv4_addresses_are_not_decoded(address: IPv4Address) -> None:
    four = int(address)
    embedded = (
        four,
        0xFFFF << 32 | four,
        0x64FF9B << 96 | four,
        0x64FF9B0001 << 80 | four,
        0x2002 << 112 | four << 80 | 1,
        0x20010000 << 96 | (four ^ 0xFFFFFFFF),
    )
    for number in embedded:
        assert not may_connect(IPv6Address(number), ())
        assert not may_connect(IPv6Address(number), [ip_network("127.0.0.0/8")])


def test_only_the_allowed_networks_are_allowed() -> None:
    allowed = [ip_network("127.0.0.1/32"), ip_network("10.1.0.0/16"), ip_network("::1/128")]
    for text in ("127.0.0.1", "10.1.255.255", "::1", "8.8.8.8"):
        assert may_connect(ip_address(text), allowed)
    for text in ("127.0.0.2", "10.2.0.0", "::2", "::ffff:127.0.0.1"):
        assert not may_connect(ip_address(text), allowed)


def test_no_socket_is_made_for_a_forbidden_address() -> None:
    make = guarded_sockets([ip_network("127.0.0.1/32")])
    for family, text in (
        (socket.AF_INET, "127.0.0.2"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "fe80::1%eth0"),
    ):
        with pytest.raises(ForbiddenAddressError, match="forbidden address"):
            make((family, socket.SOCK_STREAM, 0, "", (text, 80)))
    made = make((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80)))
    with made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
