"""Whose certificates are believed when a URL is fetched."""

import ssl
from pathlib import Path

import httpx

from stt_server.errors import StartupError


def checking(ca_bundle: Path | None) -> ssl.SSLContext:
    """The system's trust, and beside it the certificates of a PEM file. Raises `StartupError`."""
    paths = ssl.get_default_verify_paths()
    # A Python that knows no system store (some builds for macOS) takes the library's own list.
    known = paths.cafile or paths.capath
    context = ssl.create_default_context() if known else httpx.create_ssl_context(trust_env=False)
    if ca_bundle is not None:
        # The certificate of a telephone system may stand for itself, without an authority above it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # Python 3.13 began to refuse what such certificates often lack.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(cafile=ca_bundle)
        except OSError:  # SSLError is one too
            raise StartupError(f"FETCH_CA_BUNDLE: {ca_bundle} cannot be read as certificates in PEM.") from None
    return context


def unchecking() -> ssl.SSLContext:
    """Believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
