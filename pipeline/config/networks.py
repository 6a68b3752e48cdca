"""Networks in settings: texts such as `192.168.1.0/24`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any


def parse_networks(networks: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read a list of networks, or one: `parse_networks(["192.168.1.0/24", "::1"])`.

    Raises:
        ValueError: it is no such list.
    """
    networks = [networks] if isinstance(networks, str) else networks
    if not isinstance(networks, list | tuple) or any(isinstance(n, int) for n in networks):
        raise ValueError(f"{networks!r}: give a list of networks, such as [192.168.1.0/24]")
    return tuple(_network(text) for text in networks)


def _network(text: Any) -> IPv4Network | IPv6Network:
    address, slash, _ = str(text).partition("/")
    try:
        network = ip_network(str(text), strict=False)
    except ValueError:
        raise ValueError(f"{text!r}: give a network, such as 192.168.1.0/24") from None
    if slash and network.network_address != ip_address(address):
        raise ValueError(f"{text!r}: give {network} for that network, {address} for one host")
    return network
