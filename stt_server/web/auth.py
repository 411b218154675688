"""Who calls: keys, and whose jobs they open."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from stt_server.errors import StartupError, Unauthorized
from stt_server.types import DEFAULT_TENANT

_HASHED = re.compile(r"(?:(?P<tenant>[^:]+):)?sha256:(?P<digest>[0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    tenant: str
    name: str
    """Tells keys apart in limits and logs, without telling a key."""


ANYONE = Caller(DEFAULT_TENANT, "anyone")


class Keys:
    """The keys of `API_KEYS`, kept as checksums only."""

    def __init__(self, entries: Iterable[str], *, required: bool) -> None:
        self._callers = [_parse(entry) for entry in entries]
        self._required = required and bool(self._callers)

    @property
    def several(self) -> bool:
        """More than one tenant must get along."""
        return len({caller.tenant for _, caller in self._callers}) > 1

    def identify(self, authorization: str | None, *, in_query: bool = False) -> Caller:
        """Whose key the `Authorization` header holds. Raises `Unauthorized`."""
        caller = self._find(authorization)
        if not self._required:
            return caller or ANYONE
        if in_query:
            raise Unauthorized(
                "Never send a key in the address, where logs keep it. Send `Authorization: Bearer <key>`."
            )
        if caller is None:
            raise Unauthorized()
        return caller

    def _find(self, authorization: str | None) -> Caller | None:
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = _digest(key.strip())
        # Every key is compared, so that the time taken tells nothing.
        found = [caller for known, caller in self._callers if hmac.compare_digest(known, digest)]
        return found[0] if found else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _parse(entry: str) -> tuple[bytes, Caller]:
    """`key`, `tenant:key`, `sha256:<hex>` or `tenant:sha256:<hex>`."""
    if hashed := _HASHED.fullmatch(entry):
        tenant, digest = hashed["tenant"] or DEFAULT_TENANT, bytes.fromhex(hashed["digest"])
    else:
        before, colon, after = entry.partition(":")
        tenant, key = (before, after) if colon else (DEFAULT_TENANT, before)
        if not tenant or not key or tenant == "sha256" or key.startswith("sha256:"):
            raise StartupError("API_KEYS: each key is `key`, `tenant:key` or `tenant:sha256:<64 hexadecimal digits>`.")
        digest = _digest(key)
    return digest, Caller(tenant, digest.hex()[:12])
