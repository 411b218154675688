"""The job API, from submission to erasure, over restarts."""

import asyncio
import sqlite3
import time
from contextlib import closing
from functools import partial

import httpx
import pytest

from tests.sounds import SAMPLE, speech_wav
from tests.web.conftest import Start
from tests.web.live import Live, Part, fake_app, until

AUDIO = speech_wav(3)
TEXT = "w1 w2"
RESULT = "/v1/audio/transcriptions/{}/result"


def test_from_submission_to_result(live: Live) -> None:
    """A job is answered at once, found by its ids and its own, and its result comes in any format."""
    answer = live.job(AUDIO, "whole-way", ("response_format", "srt"))
    assert answer == {
        "job_id": answer["job_id"],
        "status": "queued",
        "queue_position": 1,
        "message": "Transcription queued",
        "cached": False,
    }
    job = live.ended(answer["job_id"])
    assert job == {
        "job_id": answer["job_id"],
        "status": "completed",
        "queue_position": None,
        "progress": 1.0,
        "user_uuid": "u1",
        "message_id": "whole-way",
        "text": TEXT,
        "duration": 3.0,
        "error": None,
        "created_at": job["created_at"],
    }
    assert abs(job["created_at"] - time.time()) < 60
    found = live.get("/v1/audio/transcriptions/lookup?user_uuid=u1&message_id=whole-way")
    assert found == {
        "found": True,
        **{name: job[name] for name in ("job_id", "status", "text", "duration", "error", "created_at")},
    }
    result = RESULT.format(job["job_id"])
    assert live.http.get(result).text.startswith("1\n00:00:0")
    assert live.http.get(result + "?response_format=").text.startswith("1\n00:00:0")
    assert live.http.get(result + "?response_format=text").text == TEXT + "\n"
    verbose = live.get(result + "?response_format=verbose_json&timestamp_granularities[]=word")
    assert [word["word"] for word in verbose["words"]] == TEXT.split()
    assert "segments" not in verbose
    assert live.http.get(result + "?response_format=yaml").status_code == 400


def test_a_known_recording(live: Live) -> None:
    """The same ids again need no audio and no second transcription."""
    first = live.job(AUDIO, "known")
    live.ended(first["job_id"])
    again = live.post(("user_uuid", "u1"), ("message_id", "known"))
    assert again.status_code == 200
    assert again.json() == {
        "job_id": first["job_id"],
        "status": "completed",
        "queue_position": None,
        "message": "Transcription already exists",
        "cached": True,
    }


def test_unknown_jobs(live: Live) -> None:
    """An unknown id, or what is none, is 404; an unknown recording is not found, and no error."""
    for job_id in ("0", "00000000-0000-4000-8000-000000000000", "%00", "x" * 500, "%2e%2e"):
        for path in ("", "/result"):
            answer = live.http.get(f"/v1/audio/transcriptions/{job_id}{path}")
            assert answer.status_code == 404, job_id
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert live.get("/v1/audio/transcriptions/lookup?user_uuid=a&message_id=b") == {"found": False}
    for query in ("", "?user_uuid=a", "?message_id=b", "?user_uuid=&message_id=b"):
        assert live.http.get("/v1/audio/transcriptions/lookup" + query).status_code == 400


def test_a_job_that_fails(live: Live) -> None:
    """Its result is 400 with its own code and message for ever, and submitting it again tries again."""
    broken = AUDIO[:12] + bytes(3000)
    first = live.job(broken, "fails")
    job = live.ended(first["job_id"])
    assert job["status"] == "failed"
    assert job["text"] is None
    for _ in range(2):
        result = live.http.get(RESULT.format(first["job_id"]))
        assert result.status_code == 400
        assert result.json()["error"] == {
            "message": job["error"],
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_audio",
        }
    again = live.job(AUDIO, "fails")
    assert again["cached"] is False
    assert again["job_id"] != first["job_id"]
    assert live.ended(again["job_id"])["text"] == TEXT
    assert live.http.get(RESULT.format(first["job_id"])).status_code == 404


def test_an_unfinished_job(start: Start) -> None:
    """Its result is 202 with the job's body, and the queue says where it stands."""
    live = start(partial(fake_app, delay=30))
    jobs = [live.job(AUDIO, str(number)) for number in range(6)]
    assert [job["queue_position"] for job in jobs] == [1, 1, 1, 1, 2, 3]
    last = jobs[-1]["job_id"]
    result = live.http.get(RESULT.format(last))
    assert result.status_code == 202
    assert result.json()["queue_position"] == 3
    assert result.json()["status"] == "queued"
    assert live.job_at(jobs[0]["job_id"])["status"] == "processing"
    assert live.job_at(jobs[0]["job_id"])["queue_position"] is None
    assert live.get("/v1/audio/transcriptions/status") == {
        "queue_length": 3,
        "processing": True,
        "max_queue_size": 100,
    }


def test_erasure(live: Live) -> None:
    """A deleted job is gone, a deleted user's jobs are gone, and deleting again is no error."""
    jobs = [live.job(AUDIO, str(number), user="gone")["job_id"] for number in range(3)]
    for job_id in jobs:
        live.ended(job_id)
    delete = live.http.delete
    assert delete(f"/v1/audio/transcriptions/{jobs[0]}").json() == {"deleted": 1}
    assert delete(f"/v1/audio/transcriptions/{jobs[0]}").json() == {"deleted": 0}
    assert live.http.get(f"/v1/audio/transcriptions/{jobs[0]}").status_code == 404
    assert live.get("/v1/audio/transcriptions/lookup?user_uuid=gone&message_id=0") == {"found": False}
    # Who names one message must not lose them all.
    assert delete("/v1/audio/transcriptions?user_uuid=gone&message_id=1").status_code == 400
    assert delete("/v1/audio/transcriptions?user_uuid=gone").json() == {"deleted": 2}
    assert delete("/v1/audio/transcriptions?user_uuid=gone").json() == {"deleted": 0}
    assert delete("/v1/audio/transcriptions").status_code == 400


def test_erasing_what_is_worked_on(start: Start) -> None:
    """Erasing a running or a waiting job stops it, and its audio goes."""
    live = start(partial(fake_app, delay=30))
    for number in range(5):
        live.job(AUDIO, str(number))
    assert live.http.delete("/v1/audio/transcriptions?user_uuid=u1").json() == {"deleted": 5}
    until(lambda: live.spool == [])
    until(lambda: not live.get("/v1/audio/transcriptions/status")["processing"])


def test_force(start: Start) -> None:
    """The old result stays readable until the new one is complete; a second force joins the first."""
    live = start(partial(fake_app, delay=0.5))
    first = live.job(AUDIO)["job_id"]
    live.ended(first)
    forced = live.job(speech_wav(2), "m1", ("force", "true"))
    assert forced["cached"] is False
    lookup = "/v1/audio/transcriptions/lookup?user_uuid=u1&message_id=m1"
    assert live.get(lookup)["job_id"] == first
    second = live.job(AUDIO, "m1", ("force", "1"))
    assert (second["job_id"], second["cached"]) == (forced["job_id"], True)
    assert live.job(AUDIO, "m1")["job_id"] == first
    live.ended(forced["job_id"])
    assert live.get(lookup)["text"] == "w1"
    assert live.http.get(f"/v1/audio/transcriptions/{first}").status_code == 404


async def test_one_winner(live: Live) -> None:
    """Forty clients that submit one recording at once get one job, and exactly one of them made it."""
    ids = {"user_uuid": "crowd", "message_id": "one"}
    async with httpx.AsyncClient(base_url=live.address, timeout=30, trust_env=False) as client:
        calls = [client.post("/v1/audio/transcriptions", data=ids, files={"file": AUDIO}) for _ in range(40)]
        answers = [answer.json() for answer in await asyncio.gather(*calls)]
    assert len({answer["job_id"] for answer in answers}) == 1
    assert sorted(answer["cached"] for answer in answers) == [False] + [True] * 39
    await asyncio.to_thread(live.ended, answers[0]["job_id"])
    await asyncio.to_thread(until, lambda: live.spool == [])


def test_restart(start: Start) -> None:
    """What was acknowledged survives a restart with its id and its place, and then completes."""
    before = start(partial(fake_app, delay=30))
    jobs = [before.job(AUDIO, str(number), ("response_format", "text"))["job_id"] for number in range(6)]
    before.stop()
    after = start()
    assert [after.ended(job_id)["text"] for job_id in jobs] == [TEXT] * 6
    assert after.http.get(RESULT.format(jobs[5])).text == TEXT + "\n"
    assert after.http.get(RESULT.format(jobs[5]) + "?response_format=vtt").text.startswith("WEBVTT")
    until(lambda: after.spool == [])


def recordings(request: httpx.Request) -> httpx.Response:
    """A remote host with recordings."""
    if request.url.path == "/slow":
        raise httpx.ReadTimeout("too slow")
    if request.url.path == "/broken":
        return httpx.Response(503)
    if request.url.path == "/page":
        return httpx.Response(200, stream=httpx.ByteStream(b"<html>Please log in</html>"))
    return httpx.Response(200, stream=httpx.ByteStream(AUDIO))


@pytest.fixture(scope="module")
def fetching(start_shared: Start) -> Live:
    """A server for which `recordings` is the network, and one address is allowed."""
    transport = httpx.MockTransport(recordings)
    return start_shared(partial(fake_app, transport=transport), fetch_allow_hosts=("192.0.2.1",))


def test_audio_by_url(fetching: Live) -> None:
    """A url is as good as a file, for both callers, in both encodings of a form."""
    url: Part = ("url", "http://192.0.2.1/users/me/voicemails/messages/1/recording?token=canary")
    assert fetching.post(url).json()["text"] == TEXT
    assert fetching.post(url, ("file", ("", b"", "application/octet-stream"))).json()["text"] == TEXT
    job = fetching.post(("user_uuid", "u"), ("message_id", "m"), url).json()
    assert fetching.ended(job["job_id"])["text"] == TEXT
    form = {"url": url[1], "response_format": "text"}
    assert fetching.http.post("/v1/audio/transcriptions", data=form).text == TEXT + "\n"
    assert fetching.post(url, ("file", ("a.wav", speech_wav(2), None))).json()["text"] == "w1"
    until(lambda: fetching.spool == [])


@pytest.mark.parametrize(
    ("url", "in_the_call"),
    [
        ("http://192.0.2.1/slow?token=canary", 502),
        ("http://192.0.2.1/broken?token=canary", 502),
        ("http://192.0.2.1/page?token=canary", 400),
        ("http://127.0.0.1:1/?token=canary", 400),
        ("http://canary@", 400),
    ],
)
def test_a_url_that_fails(fetching: Live, url: str, in_the_call: int) -> None:
    """Whoever submits a job gets 400 and may try again later; no answer repeats the url or its token."""
    answer = fetching.post(("url", url))
    assert answer.status_code == in_the_call
    ids: list[Part] = [("user_uuid", "u"), ("message_id", "failed")]
    job = fetching.post(*ids, ("url", url))
    assert job.status_code == 400
    for text in (answer.text, job.text):
        assert "canary" not in text
    if "page" not in url:
        assert job.json()["error"]["message"].startswith("Failed to fetch audio from URL")
    assert fetching.get("/v1/audio/transcriptions/lookup?user_uuid=u&message_id=failed") == {"found": False}
    assert fetching.spool == []


def test_the_spoken_sample(live: Live) -> None:
    """The voicemail of the repository goes the whole way as a job."""
    job = live.job(SAMPLE.read_bytes(), "sample")
    assert live.ended(job["job_id"])["status"] == "completed"


def test_an_expired_text(start: Start) -> None:
    """A text that nobody has read for long goes, its job stays, and submitting it again transcribes it again."""
    before = start(text_retention_days=365)
    job = before.job(AUDIO)["job_id"]
    before.ended(job)
    before.stop()
    with closing(sqlite3.connect(before.settings.db_path)) as database:
        database.execute("UPDATE jobs SET kept_ms = kept_ms - 366 * 86400000")
        database.commit()
    after = start(text_retention_days=365)
    until(lambda: after.job_at(job)["text"] is None)
    assert after.job_at(job)["status"] == "completed"
    assert after.job_at(job)["duration"] == 3.0
    result = after.http.get(RESULT.format(job))
    assert (result.status_code, result.json()["error"]["code"]) == (404, "text_expired")
    again = after.job(AUDIO)
    assert again["cached"] is False
    assert after.ended(again["job_id"])["text"] == TEXT
    assert after.http.get(RESULT.format(job)).status_code == 404
