"""Which web pages may read what."""

import pytest
from pydantic import SecretStr

from tests.web.conftest import Start
from tests.web.live import Live

PAGE = {"Origin": "https://wazo.example"}
ASKING = {
    **PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,x-stainless-os",
}


@pytest.fixture
def open_to_one(start: Start) -> Live:
    return start(cors_origins=("https://wazo.example",), api_keys=(SecretStr("k"),), requests_per_minute=2)


def test_a_listed_page_reads_every_answer(open_to_one: Live) -> None:
    """Errors of every kind included, and the headers it needs with them."""
    key = {"Authorization": "Bearer k"}
    answers = [
        open_to_one.http.get("/health/live", headers=PAGE),
        open_to_one.http.get("/v1/models", headers=PAGE),
        open_to_one.http.get("/nothing", headers=PAGE),
        open_to_one.http.put("/v1/models", headers=PAGE),
        open_to_one.http.get("/v1/models", headers=PAGE | key),
        open_to_one.http.post("/v1/audio/transcriptions", headers=PAGE | key),
        open_to_one.http.get("/v1/models", headers=PAGE | key),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 405, 200, 400, 429]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "https://wazo.example"
        assert "access-control-allow-credentials" not in answer.headers
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert "retry-after" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


def test_a_preflight_needs_no_key(open_to_one: Live) -> None:
    """It allows whatever headers the SDK adds."""
    answer = open_to_one.http.options("/v1/audio/transcriptions", headers=ASKING)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://wazo.example"
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert answer.headers["x-request-id"]


def test_other_pages_read_nothing(open_to_one: Live, live: Live) -> None:
    """An origin that is not listed gets no header, and without a list nobody does."""
    for server, origin in ((open_to_one, "https://evil.example"), (open_to_one, "null"), (live, PAGE["Origin"])):
        answers = [
            server.http.get("/health/live", headers={"Origin": origin}),
            server.http.options("/v1/models", headers=ASKING | {"Origin": origin}),
        ]
        for answer in answers:
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_page(start: Start) -> None:
    """`*` is said as it is, and never with credentials."""
    live = start(cors_origins=("*",))
    answer = live.http.get("/health/live", headers=PAGE)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    private = live.http.options("/v1/models", headers=ASKING | {"Access-Control-Request-Private-Network": "true"})
    assert private.headers["access-control-allow-private-network"] == "true"
