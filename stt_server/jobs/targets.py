"""What a URL asks for, judged by its text alone: scheme, host, port, credentials, and where a redirect may lead."""

import base64
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import httpx

from stt_server.errors import BadUrl, UrlRefused
from stt_server.jobs.addresses import Address, plain_name

log = logging.getLogger(__name__)

DEFAULT_PORTS = {"http": 80, "https": 443}
_EXTENSION = re.compile(r"\.([a-z0-9]{1,8})$", re.IGNORECASE | re.ASCII)
_FILENAME = re.compile(r";\s*filename\*?\s*=\s*(?:\"([^\"]*)\"|([^;]*))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """One address to ask for a recording. Shows its host only: path and query may be secret."""

    url: httpx.URL = field(repr=False)
    """Without credentials and fragment."""
    host: str
    """Name or address: ASCII, lower case, no brackets, no final dot."""
    port: int
    authorization: str | None = field(default=None, repr=False)
    """The header made from `user:password@`. Meant for this origin and no other."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.url.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        """The host as the server knows itself: by name, whatever address is connected to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.url.scheme] else f"{host}:{self.port}"


def refused(host: str, why: str) -> UrlRefused:
    """The one error of all refusals. Its reason is for the log: callers could map a network by it."""
    log.warning("url refused", extra={"host": host, "why": why})
    return UrlRefused()


def parse(text: str) -> Target:
    """Read what a caller sent. Raises `BadUrl`, `UrlRefused`."""
    with suppress(ValueError, httpx.InvalidURL):
        return _read(text)
    raise BadUrl("Failed to fetch audio from URL: it is not a valid http or https address.")


def _read(text: str) -> Target:
    _check_characters(text)
    url = httpx.URL(text)
    if url.scheme not in DEFAULT_PORTS:
        raise ValueError("neither http nor https")
    host = url.raw_host.decode("ascii")
    if ":" in host and "%" in host:
        raise refused(host.partition("%")[0], "it names a network interface")
    port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    if not 0 < port < 65536:
        raise ValueError("no such port")
    bare = url.copy_with(userinfo=b"", fragment=None)
    host = str(ip_address(host)) if ":" in host else plain_name(host)
    return Target(bare, host, port, _basic(url))


def _check_characters(text: str) -> None:
    # The library that connects also reads: two readers of one URL may see two hosts. Control characters and
    # backslashes are what they most often disagree about.
    if not text.isprintable() or "\\" in text:
        raise ValueError("characters that do not belong in a URL")


def _basic(url: httpx.URL) -> str | None:
    if not url.userinfo:
        return None
    pair = f"{url.username}:{url.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def redirected(target: Target, location: str) -> Target:
    """Where `target` sends its visitors. Raises `UrlRefused`.

    A server may not choose our credentials, nor take the lock off the door. Those of the first URL stay with its
    origin: once it is left they are gone, even if another server leads back to it.
    """
    landed = None
    with suppress(BadUrl, ValueError, httpx.InvalidURL):
        _check_characters(location)  # before joining, which drops some of them
        landed = parse(str(target.url.join(location)))
    if landed is None:
        raise refused(target.host, "it redirects to an invalid address")
    if landed.authorization is not None:
        raise refused(landed.host, "a redirect with a password")
    if target.url.scheme == "https" and landed.url.scheme != "https":
        raise refused(landed.host, "a redirect from https to http")
    return replace(landed, authorization=target.authorization if landed.origin == target.origin else None)


def connectable(target: Target, address: Address) -> httpx.URL:
    """The URL with the address in the place of the name, so that nobody looks the name up again."""
    return target.url.copy_with(host=str(address))


def hint(disposition: str, *targets: Target) -> str | None:
    """A file name with the first extension found, else None.

    Only the extension tells anything: it names headerless telephone codecs. The rest of the name is the server's, or
    part of a secret path, and is not carried further.
    """
    found = _FILENAME.search(";" + disposition)
    names = [(found[1] or found[2] or "").strip()] if found else []
    names += [target.url.path.rpartition("/")[2] for target in targets]
    extensions = (_EXTENSION.search(name) for name in names)
    return next((f"audio.{extension[1].lower()}" for extension in extensions if extension), None)
