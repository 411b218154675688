"""Which addresses may be connected to on a caller's word. Pure: no look-ups, no sockets."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")

PORTS = frozenset({80, 443, 8080, 8443})
"""Ports of public hosts. Others belong to services that were never meant to be talked to in HTTP."""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


PUBLIC_V6 = IPv6Network("2000::/3")
"""All that was ever given out for unicast on the Internet. Outside lie loopback, mapped and compatible IPv4, NAT64,
site-local, link-local, unique local and multicast addresses."""
NOT_PUBLIC = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier NAT, and the inside of some clouds
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",  # is_global says yes to most of it
    "192.0.2.0/24",
    "192.31.196.0/24",  # AS112: answers for private names
    "192.52.193.0/24",  # automatic multicast tunnels
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",  # Teredo, benchmarks, ORCHID, ...
    "2001:db8::/32",
    "2002::/16",  # 6to4: an IPv4 address in disguise
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",
)
"""IANA's special-purpose blocks, whether or not they are said to be reachable: no recording lies there."""
METADATA = _networks(
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure: a public address that answers only inside
    "192.0.0.192/32",  # Oracle
    "fd00:ec2::/32",  # Amazon
    "fd20:ce::254/128",  # Google
)
"""Where clouds tell a machine its own secrets, beside 169.254.0.0/16."""
LITERAL_ONLY = METADATA + _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "fe80::/10",
    "ff00::/8",
)
"""Refused even to a listed name or wide network: they open only when they, or a part of them, are listed."""


def unmapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped one: that is what the system connects to."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet could reach the address, and no one more than anybody."""
    address = unmapped(address)
    if isinstance(address, IPv6Address) and (address.scope_id or address not in PUBLIC_V6):
        return False
    # `is_global` alone is true for several addresses that embed loopback; beside the table it is for later blocks.
    return address.is_global and not _within(address, (*NOT_PUBLIC, *METADATA))


def _within(address: Address, networks: Iterable[Network]) -> list[Network]:
    return [network for network in networks if address in network]


@dataclass(frozen=True, slots=True)
class Host:
    """An entry of a host list: a name, or a network (often of one address), at one port or at any."""

    name: str | None
    """Lower case, ASCII, without a final dot."""
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read `name`, `address` or `network`, each with an optional `:port`. Raises `ValueError`."""
        if (network := _network(entry)) is not None:
            return cls(None, network, None)
        host, colon, digits = entry.rpartition(":")
        port = int(digits) if colon and digits.isdecimal() else None
        if port is not None and not 0 < port < 65536:
            raise ValueError("the port is out of range")
        host = host if port is not None else entry
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if (network := _network(bare)) is not None:
            return cls(None, network, port)
        return cls(plain_name(host), None, port)

    def covers(self, name: str, port: int, address: Address) -> bool:
        """Whether the entry means this host: by its name, or by where it lies."""
        here = self.name == name if self.network is None else address in self.network
        return here and self.port in (None, port)


def _network(text: str) -> Network | None:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped
    return ip_network((mapped, network.prefixlen - 96)) if mapped else network


def plain_name(text: str) -> str:
    """A host name as it is compared, looked up and sent: ASCII, lower case, no final dot. Raises `ValueError`."""
    name = ""
    if not set(text) & set("/?#@:"):
        with suppress(httpx.InvalidURL, UnicodeError):
            name = httpx.URL(f"http://{text}/").raw_host.decode("ascii").removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("not a host name")
    return name


def may_connect(name: str, port: int, address: Address, allowed: Sequence[Host]) -> bool:
    """Whether `address`, found under `name` (or the address as it was written), may be connected to.

    Without a list: every public address, at the usual ports. With one: what it lists, private or not, and no more.
    """
    address = unmapped(address)
    if not allowed:
        return port in PORTS and is_public(address)
    covering = [host for host in allowed if host.covers(name, port, address)]
    if touchy := _within(address, LITERAL_ONLY):
        return any(host.network is not None and _is_part(host.network, touchy) for host in covering)
    return bool(covering)


def _is_part(network: Network, blocks: Iterable[Network]) -> bool:
    return any(
        network.network_address in block and network.prefixlen >= block.prefixlen
        for block in blocks
        if block.version == network.version
    )


def parse_address(text: str) -> Address | None:
    """The address written in `text`, None for anything else, such as a name or `127.1`."""
    try:
        return ip_address(text)
    except ValueError:
        return None
