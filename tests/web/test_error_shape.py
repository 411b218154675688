"""The table of errors, and the one shape in which all of them go out."""

import json

import openai
import pytest
from fastapi import FastAPI

from stt_server.errors import JobFailed, QueueFull, StartupError, StoreBroken, SttError, Temporary
from stt_server.settings import Settings
from stt_server.web.app import STATUS, refusal
from tests.test_errors import tree
from tests.web.conftest import Start
from tests.web.live import Live, fake_app

ANSWERED = [cls for cls in tree() if cls not in (SttError, Temporary) and not issubclass(cls, StartupError)]


@pytest.mark.parametrize("cls", ANSWERED)
def test_every_error_has_a_number(cls: type[SttError]) -> None:
    """Each class belongs to exactly one family, and goes out with its code and all four keys."""
    assert sum(issubclass(cls, family) for family, _ in STATUS) == 1
    answer = refusal(cls())
    error = json.loads(bytes(answer.body))["error"]
    assert error["code"] == cls.code
    assert error["message"] == cls().message
    assert set(error) == {"message", "type", "param", "code"}
    assert ("retry-after" in answer.headers) is (answer.status_code in (429, 503))
    assert (answer.headers.get("x-should-retry") == "false") is (answer.status_code == 500)


def test_what_is_meant_for_the_operator_stays_inside() -> None:
    """An error that names files, raised while the server runs, is a plain 500."""
    answer = refusal(StoreBroken("The database /srv/data/jobs.db is damaged."))
    assert answer.status_code == 500
    assert b"/srv" not in bytes(answer.body)


def test_retry_after_is_at_least_a_second() -> None:
    """Whole seconds, rounded up: an SDK that is told 0 would ask again at once."""
    assert refusal(QueueFull(retry_after=0.2)).headers["retry-after"] == "1"
    assert refusal(QueueFull(retry_after=2.1)).headers["retry-after"] == "3"


def test_a_failed_job_keeps_its_code() -> None:
    """Asking later gives the same answer."""
    error = json.loads(bytes(refusal(JobFailed("It broke.", reason="worker_crashed")).body))["error"]
    assert (error["code"], error["message"]) == ("worker_crashed", "It broke.")


def buggy_app(settings: Settings) -> FastAPI:
    """The application with addresses that fail."""
    app = fake_app(settings)

    async def bug() -> None:
        raise ZeroDivisionError("secret detail")

    async def typed(number: int) -> int:
        return number

    app.add_api_route("/v1/bug", bug, methods=["GET", "POST"])
    app.add_api_route("/v1/audio/transcriptions", bug, methods=["PUT"])
    app.add_api_route("/typed", typed)
    return app


@pytest.fixture(scope="module")
def buggy(start_shared: Start) -> Live:
    return start_shared(buggy_app)


def test_a_bug_of_ours(buggy: Live) -> None:
    """500 with a request id instead of details, marked so that no SDK runs it three times."""
    answer = buggy.http.get("/v1/bug")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"].startswith("req_")
    client = openai.OpenAI(api_key="k", base_url=buggy.address + "/v1")
    with client, pytest.raises(openai.InternalServerError) as caught:
        client.post("/bug", cast_to=object)
    assert caught.value.request_id


def test_what_the_framework_finds(buggy: Live) -> None:
    """Validation is 400 like everything else that is wrong with a request."""
    for path in ("/typed", "/typed?number=x"):
        answer = buggy.http.get(path)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "number"


def test_unknown_addresses(live: Live) -> None:
    """404 and 405 have the shape of all errors, for whatever method."""
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/v1/", 404),
        ("POST", "/v1/models", 405),
        ("PUT", "/v1/audio/transcriptions", 405),
        ("PATCH", "/health", 405),
        ("GET", "/docs", 404),
    ):
        answer = live.http.request(method, path)
        assert answer.status_code == status, path
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert answer.headers["x-request-id"]
        assert ("allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/audio/transcriptions", "DELETE, POST"),
        ("/v1/audio/transcriptions/some-job", "DELETE, GET"),
        ("/v1/audio/translations", "POST"),
        ("/v1/models/org%2Fname", "GET"),
        ("/health", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
def test_another_method_is_told_those_there_are(live: Live, path: str, methods: str) -> None:
    """`Allow` names every method of the address, not only those of the first function behind it."""
    answer = live.http.request("PATCH", path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == methods


def test_a_slash_too_many_is_an_address_that_is_not_there(live: Live) -> None:
    """Behind a proxy with TLS a redirect would lead to plain HTTP, and it would be no answer in the error shape."""
    for method, path in (("POST", "/v1/audio/transcriptions/"), ("GET", "/health/")):
        answer = live.http.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


def test_every_answer_has_the_headers(live: Live) -> None:
    """Good or bad, each has an id of its own, the time taken and the version."""
    seen = set()
    for path in ("/health", "/nothing", "/v1/models", "/openapi.json"):
        headers = live.http.get(path).headers
        seen.add(headers["x-request-id"])
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-processing-ms"].isdigit()
        assert "server" not in headers
    assert len(seen) == 4
