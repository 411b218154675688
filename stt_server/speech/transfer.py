"""One file from one address: continued where it broke off, tried again, and believed only by its checksum."""

import logging
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from stt_server.errors import DownloadFailed
from stt_server.speech.models import sha256_of

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with a file's name, its bytes so far, and its bytes in all."""

WORTH_A_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others in a moment."""
MIB = 1024 * 1024


class SourceFailed(DownloadFailed):
    """This source cannot give the file; another may."""


class _Broken(Exception):
    """The transfer broke off; what has arrived may be continued."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait
        """Seconds the server asked to be left alone."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a source is believed to come back."""

    tries: int = 4
    """In a row without a gain of 1 MiB."""
    pause: float = 1.0
    """Seconds before the second try; doubled before each further one."""
    timeout_secs: float = 30.0
    """Silence of the other side."""


PATIENT = Patience()
"""Gives up on a dead host after some seven seconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be fetched, and how to know it."""

    url: str
    size: int
    """Bytes."""
    sha256: str
    path: Path
    """Where it goes. A shorter file there is the beginning of it."""

    @property
    def host(self) -> str:
        """The only part of the address that is ever shown: the rest may hold a password."""
        return httpx.URL(self.url).host

    @property
    def have(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def tag(self) -> Path:
        """Keeps the server's ETag of what has arrived."""
        return self.path.with_name(self.path.name + ".etag")

    def drop(self) -> None:
        """Begin again."""
        self.path.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def open_client(patience: Patience) -> httpx.Client:
    """A client that heeds HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."""
    try:
        return httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(patience.timeout_secs, connect=min(10.0, patience.timeout_secs)),
            # Anything but the bytes themselves could not be continued.
            headers={"User-Agent": "stt-server", "Accept-Encoding": "identity"},
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise DownloadFailed(f"HTTPS_PROXY, ALL_PROXY or SSL_CERT_FILE cannot be used: {error}") from error


def fetch(client: httpx.Client, wanted: Wanted, on_progress: Progress, patience: Patience) -> None:
    """Bring the file to its path, whole and synced to disk.

    Raises `SourceFailed`; a beginning that may be continued stays where it is.
    """
    continued = wanted.have > 0
    _persist(client, wanted, on_progress, patience)
    if _is_right(wanted):
        return
    wanted.drop()
    if continued:  # the beginning may have been of another file
        _persist(client, wanted, on_progress, patience)
        if _is_right(wanted):
            return
        wanted.drop()
    raise SourceFailed(f"{wanted.host} has another {wanted.path.name}: the checksum differs")


def _is_right(wanted: Wanted) -> bool:
    if wanted.have != wanted.size or sha256_of(wanted.path) != wanted.sha256:
        return False
    with wanted.path.open("rb+") as file:
        os.fsync(file.fileno())
    wanted.tag.unlink(missing_ok=True)
    return True


def _persist(client: httpx.Client, wanted: Wanted, on_progress: Progress, patience: Patience) -> None:
    """Receive until all bytes are there, over as many connections as it takes."""
    failures = 0
    while wanted.have != wanted.size:
        before = wanted.have
        try:
            _receive(client, wanted, on_progress)
        except _Broken as broken:
            failures = 1 if wanted.have - before >= MIB else failures + 1
            if failures >= patience.tries:
                raise SourceFailed(f"{wanted.host}: {broken} ({wanted.path.name})") from broken
            pause = max(broken.wait, patience.pause * 2 ** (failures - 1))
            log.warning(
                "download interrupted, trying again",
                extra={"host": wanted.host, "file": wanted.path.name, "reason": str(broken), "seconds": pause},
            )
            time.sleep(pause)
    on_progress(wanted.path.name, wanted.size, wanted.size)


def _receive(client: httpx.Client, wanted: Wanted, on_progress: Progress) -> None:
    """One request: append to what is there if the server agrees, else begin again."""
    try:
        with client.stream("GET", wanted.url, headers=_range_headers(wanted)) as answer:
            _check_answer(answer, wanted)
            _write(answer, wanted, on_progress)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise SourceFailed(f"{wanted.host or 'the address'} cannot be used: {error}") from error
    except httpx.TransportError as error:
        if isinstance(error.__context__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
            raise SourceFailed(
                f"{wanted.host}: its certificate is not trusted (SSL_CERT_FILE can name one that is)"
            ) from error
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        raise _Broken(reason) from error


def _range_headers(wanted: Wanted) -> dict[str, str]:
    if wanted.have > wanted.size:
        wanted.drop()
    if not wanted.have:
        return {}
    headers = {"Range": f"bytes={wanted.have}-"}
    if wanted.tag.exists():
        headers["If-Range"] = wanted.tag.read_text()
    return headers


def _check_answer(answer: httpx.Response, wanted: Wanted) -> None:
    """Refuse what cannot be the file before a byte of it is stored."""
    status = answer.status_code
    if status == 416 and (total := answer.headers.get("content-range", "").rpartition("/")[2]).isdigit():
        _check_size(int(total), wanted)
    if status == 416:
        wanted.drop()
        raise _Broken("what had arrived cannot be continued")
    if status in WORTH_A_TRY:
        wait = answer.headers.get("retry-after", "")
        raise _Broken(f"answered {status} {answer.reason_phrase}", min(float(wait), 60) if wait.isdigit() else 0)
    if status not in (200, 206):
        raise SourceFailed(f"{wanted.host} answered {status} {answer.reason_phrase} ({wanted.path.name})")
    begin = wanted.have if status == 206 else 0
    if status == 206 and not answer.headers.get("content-range", "").startswith(f"bytes {begin}-"):
        wanted.drop()
        raise _Broken("answered with another range than asked for")
    length = answer.headers.get("content-length", "")
    if length.isdigit():
        _check_size(begin + int(length), wanted)


def _check_size(size: int, wanted: Wanted) -> None:
    if size != wanted.size:
        raise SourceFailed(f"{wanted.host} has another {wanted.path.name}: {size:,} bytes instead of {wanted.size:,}")


def _write(answer: httpx.Response, wanted: Wanted, on_progress: Progress) -> None:
    if answer.status_code == 200:
        wanted.drop()
    tag = answer.headers.get("etag", "")
    if tag.startswith('"'):  # a weak one promises nothing about bytes
        wanted.tag.write_text(tag)
    done = wanted.have
    with wanted.path.open("ab") as file:
        for piece in answer.iter_raw():
            done += len(piece)
            if done > wanted.size:
                break
            file.write(piece)
            on_progress(wanted.path.name, done, wanted.size)
    if done > wanted.size:
        wanted.drop()
        raise SourceFailed(f"{wanted.host} has another {wanted.path.name}: more bytes than {wanted.size:,}")
    if done < wanted.size:
        raise _Broken("ended early")
