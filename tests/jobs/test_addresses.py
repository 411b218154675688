"""Which addresses may be connected to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_server.jobs.addresses import Host, is_public, may_connect, plain_name

SPECIAL_V4 = """
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
    192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
    192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
    240.0.0.0/4 255.255.255.255/32
"""
SPECIAL_V6 = """
    ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128
    2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28
    2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10
"""
"""IANA's two special-purpose registries, whole."""
OTHERS = "224.0.0.0/4 ff00::/8 fec0::/10 ::/96 ::ffff:0:0:0/96 4000::/3 168.63.129.16/32 100.100.100.200/32"
PUBLIC = "1.1.1.1 8.8.8.8 93.184.216.34 172.15.255.255 172.32.0.1 192.0.1.1 100.63.255.255 100.128.0.1 223.255.255.254"
DISGUISES = """
    64:ff9b::7f00:1 2002:7f00:1:: ::127.0.0.1 fec0::1 224.0.0.1 192.0.0.192 ::ffff:169.254.169.254 fe80::1%eth0
    2606:4700:4700::1111%eth0 64:ff9b::808:808 2001:0:4136:e378:8000:63bf:3fff:fdd2 fd00:ec2::254
"""
PUBLIC_V6 = "2606:4700:4700::1111 2a00:1450:4001:80b::200e 2001:200::1 2001:4860:4860::8888 ::ffff:8.8.8.8"


@pytest.mark.parametrize("block", f"{SPECIAL_V4} {SPECIAL_V6} {OTHERS}".split())
def test_special_blocks_are_not_public(block: str) -> None:
    """No block with a special purpose is public: not its first, middle or last address."""
    network = ip_network(block)
    inside = {network[0], network[network.num_addresses // 2], network[-1]}
    if block == "::ffff:0:0/96":  # IPv4 in another spelling, judged as what it is
        inside = {IPv6Address("::ffff:0.0.0.0"), IPv6Address("::ffff:127.0.0.1"), IPv6Address("::ffff:10.1.2.3")}
    assert [address for address in inside if is_public(address)] == []


def blocks(text: str) -> st.SearchStrategy[int]:
    """Any address of any of these blocks, as a number."""
    networks = [ip_network(block) for block in text.split() if block != "::ffff:0:0/96"]
    return st.sampled_from(networks).flatmap(lambda network: st.integers(int(network[0]), int(network[-1])))


@given(blocks(SPECIAL_V4), st.sampled_from(["{}", "::ffff:{}", "::{}", "64:ff9b::{}", "::ffff:0:{}"]))
def test_no_special_address_is_public(number: int, spelling: str) -> None:
    """Wherever in its block it lies, and in whatever IPv6 address it hides."""
    assert not is_public(ip_address(spelling.format(IPv4Address(number))))


@given(blocks(SPECIAL_V6))
def test_no_special_v6_address_is_public(number: int) -> None:
    """Wherever in its block it lies."""
    assert not is_public(IPv6Address(number))


@pytest.mark.parametrize("text", f"{PUBLIC} {PUBLIC_V6}".split())
def test_the_rest_is_public(text: str) -> None:
    """Neighbours of the special blocks, and known public servers, are public."""
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", DISGUISES.split())
def test_disguises_are_not_public(text: str) -> None:
    """Addresses that embed another, name an interface, or that `is_global` gets wrong are not public."""
    assert not is_public(ip_address(text))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_nothing_private_is_public(address: IPv4Address) -> None:
    """An address is public only if the standard library does not know better, mapped or not."""
    assert not is_public(address) or address.is_global
    assert is_public(IPv6Address(f"::ffff:{address}")) == is_public(address)


def allowed(entries: str, name: str, port: int, address: str) -> bool:
    return may_connect(name, port, ip_address(address), [Host.parse(entry) for entry in entries.split()])


@pytest.mark.parametrize("port", [22, 25, 79, 81, 444, 6379, 8081])
def test_without_a_list_only_usual_ports_are_open(port: int) -> None:
    """A public host is asked at 80, 443, 8080 and 8443 and nowhere else."""
    assert not allowed("", "example.com", port, "93.184.216.34")
    assert all(allowed("", "example.com", usual, "93.184.216.34") for usual in (80, 443, 8080, 8443))


@pytest.mark.parametrize(
    ("entries", "name", "port", "address"),
    [
        ("pbx.lan", "pbx.lan", 9486, "192.168.1.5"),
        ("PBX.lan.", "pbx.lan", 80, "192.168.1.5"),
        ("bücher.example", "xn--bcher-kva.example", 443, "93.184.216.34"),
        ("pbx.lan:8443", "pbx.lan", 8443, "10.0.0.1"),
        ("pbx.lan", "pbx.lan", 80, "127.0.0.1"),
        ("pbx.lan", "pbx.lan", 80, "::1"),
        ("10.1.2.3", "10.1.2.3", 80, "10.1.2.3"),
        ("10.1.2.3", "whatever.example", 80, "10.1.2.3"),
        ("10.1.2.3", "::ffff:10.1.2.3", 80, "::ffff:10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3", 80, "10.1.2.3"),
        ("10.0.0.0/8", "10.9.9.9", 12345, "10.9.9.9"),
        ("10.0.0.7/8:8080", "10.9.9.9", 8080, "10.9.9.9"),
        ("fd00::/8", "fd12::1", 80, "fd12::1"),
        ("[fd00::/8]:8443", "fd12::1", 8443, "fd12::1"),
        ("[::1]:8080", "::1", 8080, "::1"),
        ("169.254.7.7", "169.254.7.7", 80, "169.254.7.7"),
        ("169.254.0.0/16", "169.254.7.7", 80, "169.254.7.7"),
        ("fe80::/64", "fe80::1", 80, "fe80::1"),
        ("fd00:ec2::254", "fd00:ec2::254", 80, "fd00:ec2::254"),
        ("other.example pbx.lan 10.0.0.1", "pbx.lan", 80, "192.168.1.5"),
    ],
)
def test_listed_hosts_are_open(entries: str, name: str, port: int, address: str) -> None:
    """A listed name, address or network is open, private or not, at the port listed or at every port."""
    assert allowed(entries, name, port, address)


@pytest.mark.parametrize(
    ("entries", "name", "port", "address"),
    [
        ("pbx.lan", "example.com", 443, "93.184.216.34"),
        ("pbx.lan", "sub.pbx.lan", 80, "192.168.1.5"),
        ("pbx.lan", "xpbx.lan", 80, "192.168.1.5"),
        ("pbx.lan:8443", "pbx.lan", 443, "192.168.1.5"),
        ("10.0.0.0/8:8080", "10.9.9.9", 80, "10.9.9.9"),
        ("10.1.2.3", "10.1.2.4", 80, "10.1.2.4"),
        ("pbx.lan", "pbx.lan", 80, "169.254.169.254"),
        ("pbx.lan", "pbx.lan", 80, "::ffff:169.254.169.254"),
        ("pbx.lan", "pbx.lan", 80, "fe80::1"),
        ("pbx.lan", "pbx.lan", 80, "fd00:ec2::254"),
        ("pbx.lan", "pbx.lan", 80, "100.100.100.200"),
        ("pbx.lan", "pbx.lan", 80, "0.0.0.0"),
        ("pbx.lan", "pbx.lan", 80, "::"),
        ("0.0.0.0/0", "169.254.169.254", 80, "169.254.169.254"),
        ("::/0", "fe80::1", 80, "fe80::1"),
        ("::/0", "64:ff9b::a9fe:a9fe", 80, "64:ff9b::a9fe:a9fe"),
        ("::/0", "2002:a9fe:a9fe::", 80, "2002:a9fe:a9fe::"),
        ("fd00::/8", "fd00:ec2::254", 80, "fd00:ec2::254"),
        ("168.63.0.0/16", "168.63.129.16", 80, "168.63.129.16"),
        ("169.254.0.0/16:8080", "169.254.7.7", 80, "169.254.7.7"),
    ],
)
def test_a_list_closes_the_rest(entries: str, name: str, port: int, address: str) -> None:
    """What is not listed is closed, public or not; link-local and metadata addresses open only when written out."""
    assert not allowed(entries, name, port, address)


@pytest.mark.parametrize(
    "entry",
    ["", "http://pbx.lan", "pbx.lan/x", "a@b", "pbx.lan:0", "pbx.lan:65536", "pbx.lan:http", "*.lan", "a b", "a..b",
     "10.0.0.0/33", "[::1", "fe80::1%eth0%", "a\\b", "x" * 64, ".lan", "pbx?x"],
)  # fmt: skip
def test_other_entries_are_refused(entry: str) -> None:
    """An entry that cannot be meant is an error, not an entry that never matches."""
    with pytest.raises(ValueError):
        Host.parse(entry)


@given(st.text(max_size=60))
def test_names_are_plain(text: str) -> None:
    """Whatever is written, a name is plain ASCII that reads back as itself, or refused."""
    try:
        name = plain_name(text)
    except ValueError:
        return
    assert plain_name(name) == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
