"""Which web pages may read what a whole server says: from its settings to every kind of answer."""

from pathlib import Path

import pytest

from tests.faults.server import FakeServer, Launcher
from tests.faults.wire import Wire

LISTED = ("https://page.example", "http://127.0.0.1:5173")
STRANGERS = (
    "null", "https://evil.example", "http://page.example", "https://page.example:8443", "https://page.example.evil.example",
    "https://evilpage.example", "https://sub.page.example", "https://page.example@evil.example", "http://127.0.0.1:8000",
    "http://localhost:5173", "file://", "*", "",
)  # fmt: skip
ROUTES = ("GET /health/live", "GET /v1/models", "GET /nothing", "PUT /v1/models", "POST /v1/audio/transcriptions")


def opened(server: FakeServer, origin: str) -> list[dict[str, str]]:
    """What browsers are told, beside the rest: the CORS headers of every kind of answer, the preflight first."""
    asking = "OPTIONS /v1/audio/transcriptions HTTP/1.1\r\nAccess-Control-Request-Method: POST"
    found = []
    for start in (asking, *(f"{route} HTTP/1.1" for route in ROUTES)):
        with Wire.to(server) as wire:
            wire.send(f"{start}\r\nHost: x\r\nOrigin: {origin}\r\n\r\n".encode())
            answer = wire.answer()
            assert answer
            found.append({name: value for name, value in answer.headers.items() if name.startswith("access-control")})
    return found


@pytest.mark.parametrize("setting", ["", ",".join(LISTED), "*"])
def test_pages_read_what_the_setting_opens(launcher: Launcher, tmp_path: Path, setting: str) -> None:
    """Nothing without a setting; with a list its origins only, to the letter, errors included; and `*` never with
    credentials."""
    with FakeServer(launcher, tmp_path, CORS_ORIGINS=setting, API_KEYS="k") as server:
        for origin in LISTED + STRANGERS:
            answers = opened(server, origin)
            if not setting or (setting != "*" and origin not in LISTED):
                assert answers == [{}] * len(answers), origin
                continue
            expected = "*" if setting == "*" else origin
            assert [answer["access-control-allow-origin"] for answer in answers] == [expected] * len(answers)
            assert not [answer for answer in answers if "access-control-allow-credentials" in answer]
            assert "authorization" in answers[0]["access-control-allow-headers"].lower()
