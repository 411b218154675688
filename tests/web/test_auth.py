"""Keys, tenants and limits."""

import hashlib

import pytest
from pydantic import SecretStr

from stt_server.errors import RateLimited, StartupError, Unauthorized
from stt_server.web.auth import ANYONE, Caller, Keys
from stt_server.web.limits import Bucket, Limits
from tests.sounds import speech_wav
from tests.web.conftest import Start
from tests.web.live import Live

AUDIO = speech_wav(2)
HASHED = hashlib.sha256(b"k-hashed").hexdigest()
KEYS = (SecretStr("acme:k-acme"), SecretStr("k-bare"), SecretStr(f"globex:sha256:{HASHED}"))
ACME = {"Authorization": "Bearer k-acme"}
GLOBEX = {"Authorization": "Bearer k-hashed"}


@pytest.fixture(scope="module")
def locked(start_shared: Start) -> Live:
    return start_shared(api_keys=KEYS)


@pytest.mark.parametrize(
    ("authorization", "tenant"),
    [
        ("Bearer k-acme", "acme"),
        ("bearer  k-acme ", "acme"),
        ("Bearer k-bare", "default"),
        ("Bearer k-hashed", "globex"),
        ("Bearer acme:k-acme", None),
        (f"Bearer sha256:{HASHED}", None),
        (f"Bearer {HASHED}", None),
        ("Basic k-acme", None),
        ("Bearer", None),
        ("Bearer é", None),
        ("", None),
        (None, None),
    ],
)
def test_which_key_opens_what(authorization: str | None, tenant: str | None) -> None:
    """A key opens its tenant; nothing that only resembles a key opens anything."""
    keys = Keys((key.get_secret_value() for key in KEYS), required=True)
    if tenant:
        assert keys.identify(authorization).tenant == tenant
        with pytest.raises(Unauthorized):
            keys.identify(authorization, in_query=True)
    else:
        with pytest.raises(Unauthorized):
            keys.identify(authorization)


def test_without_keys_everybody_enters() -> None:
    """SDKs refuse to start without a key, so users send dummies."""
    for keys in (Keys([], required=True), Keys(["acme:k"], required=False)):
        assert keys.identify("Bearer dummy") == ANYONE
        assert keys.identify(None, in_query=True) == ANYONE
    assert Keys(["acme:k"], required=False).identify("Bearer k").tenant == "acme"


@pytest.mark.parametrize("entry", ["acme:", ":key", "", "acme:sha256:12", "sha256:xyz"])
def test_keys_that_are_none(entry: str) -> None:
    """A mistake in API_KEYS stops the start; it never becomes a key."""
    with pytest.raises(StartupError):
        Keys([entry], required=True)


def test_every_address_asks_for_the_key(locked: Live) -> None:
    """Without a key nothing under /v1 answers, and nothing is read; health needs none."""
    schema = locked.http.get("/openapi.json").json()
    asked = [(method, path) for path, methods in schema["paths"].items() for method in methods if "/v1/" in path]
    assert len(asked) >= 9
    for method, path in [*asked, ("post", "/v1/audio/translations")]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"api-key": "k-acme"}):
            answer = locked.http.request(method.upper(), path.replace("{", "").replace("}", ""), headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.http.get("/v1/models?api_key=k-acme").status_code == 401
    assert locked.http.get("/v1/models", headers=ACME).status_code == 200
    assert locked.http.get("/v1/models?api_key=k-acme", headers=ACME).status_code == 401
    for path in ("/health/live", "/health/ready", "/health"):
        assert locked.http.get(path).status_code in (200, 503)


def test_tenants_do_not_see_each_other(locked: Live) -> None:
    """A foreign job does not exist, in any way of asking, and the same ids are two jobs."""
    mine = locked.job(AUDIO, **ACME)["job_id"]
    locked.ended(mine, **ACME)
    for path in (f"/v1/audio/transcriptions/{mine}", f"/v1/audio/transcriptions/{mine}/result"):
        assert locked.http.get(path, headers=GLOBEX).status_code == 404
    lookup = "/v1/audio/transcriptions/lookup?user_uuid=u1&message_id=m1"
    assert locked.get(lookup, **GLOBEX) == {"found": False}
    delete = locked.http.delete
    assert delete(f"/v1/audio/transcriptions/{mine}", headers=GLOBEX).json() == {"deleted": 0}
    assert delete("/v1/audio/transcriptions?user_uuid=u1", headers=GLOBEX).json() == {"deleted": 0}
    theirs = locked.job(AUDIO, **GLOBEX)
    assert theirs["cached"] is False
    assert theirs["job_id"] != mine
    assert locked.get(lookup, **ACME)["job_id"] == mine


# -- Limits ------------------------------------------------------------------------------------------


class Clock:
    """Time that stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_evenly() -> None:
    """What is taken comes back over the period, never more than the whole."""
    clock = Clock()
    bucket = Bucket(60, 60, clock)
    bucket.take(60)
    assert bucket.wait(1) == 1
    clock.now += 30
    assert bucket.level == 30
    clock.now += 3600
    assert bucket.level == 60
    bucket.take(100)
    assert bucket.wait(1) == 41


def test_audio_is_charged_when_its_length_is_known() -> None:
    """The day's seconds may be overdrawn by what was let in before, and then nothing passes until they are back."""
    clock = Clock()
    limits = Limits(requests_per_minute=None, audio_seconds_per_day=100, clock=clock)
    one, other = Caller("a", "one"), Caller("a", "other")
    limits.expect("r1", one)
    limits.check_audio(one)
    limits.settle("r1", 150)
    limits.settle("r1", 150)
    limits.check_audio(other)
    with pytest.raises(RateLimited) as caught:
        limits.check_audio(one)
    assert 0.5 * 86_400 <= caught.value.retry_after <= 0.52 * 86_400
    clock.now += 86_400 * 0.52
    limits.check_audio(one)


def test_requests_per_minute(start: Start) -> None:
    """Beyond its limit a key is told when to come back, and other keys are not concerned."""
    live = start(api_keys=KEYS, requests_per_minute=3)
    for remaining in (2, 1, 0):
        answer = live.http.get("/v1/models", headers=ACME)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(remaining)
    answer = live.http.get("/v1/models", headers=ACME)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert live.http.get("/v1/models", headers=GLOBEX).status_code == 200
    assert live.http.get("/health/live").status_code == 200


def test_seconds_of_audio_per_day(start: Start) -> None:
    """Both kinds of caller are charged for the audio, by its real length."""
    live = start(api_keys=KEYS, audio_seconds_per_day=3)
    answer = live.post(("file", ("a.wav", AUDIO, None)), **ACME)
    assert answer.status_code == 200
    live.ended(live.job(AUDIO, **ACME)["job_id"], **ACME)
    refused = live.post(("file", ("a.wav", AUDIO, None)), **ACME)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["x-ratelimit-remaining-audio-seconds"] == "0"
    assert live.post(("file", ("a.wav", AUDIO, None)), **GLOBEX).status_code == 200
