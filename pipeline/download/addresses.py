"""Which addresses may be connected to: those of the public internet, and those in the settings.

A list of products is written by strangers. Without this check it could make us request and store
what only this machine may see: a router's pages, a cloud's credentials, a database next door.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import AddrInfoType

from pipeline.download.outcomes import Reason

Network = IPv4Network | IPv6Network

# Written out, because `ipaddress.is_global` depends on the version of Python: for 3.11, most of
# 192.0.0.0/24, multicast, 6to4 and both NAT64 prefixes are global.
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host, this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers; some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server: a public address inside of the cloud
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays from 6to4, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments; Teredo carries an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
# All IPv6 addresses assigned so far. Outside are loopback, link-local, unique local, site-local,
# multicast, and addresses that contain an IPv4 one: mapped, compatible, NAT64. Those are not
# decoded: where DNS64 is in use, `allow_addresses` can name its prefix.
_ASSIGNED_IPV6 = IPv6Network("2000::/3")


class ForbiddenAddressError(OSError):
    """Raised instead of making a socket; an OSError, so that a name's other addresses are tried."""


def may_connect(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public, or in one of the networks that are allowed."""
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and address not in _ASSIGNED_IPV6:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def guarded_sockets(allowed: Sequence[Network]) -> Callable[[AddrInfoType], socket.socket]:
    """Return the function that makes the sockets of aiohttp's connector.

    It gets the very address about to be connected to, so it does not matter whether that came from
    a URL, a redirect or a name server whose answers change.
    """

    def make(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not may_connect(ip_address(address[0]), allowed):
            # Always the same text, so that aiohttp reports this error when no address is left.
            raise ForbiddenAddressError(Reason.FORBIDDEN_ADDRESS)
        return socket.socket(family, kind, protocol)

    return make
