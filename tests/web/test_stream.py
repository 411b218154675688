"""Server-sent events, byte for byte."""

import json
import time
from functools import partial
from typing import Any

from tests.sounds import silent_wav, speech_wav
from tests.web.conftest import Start
from tests.web.live import Live, Part, fake_app, multipart, until

STREAM: Part = ("stream", "true")


def frames(text: str) -> list[Any]:
    """What the events say; the last one as it is."""
    assert text.endswith("\n\n")
    lines = text[:-2].split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    return [line if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


def audio(content: bytes) -> Part:
    """A file part."""
    return ("file", ("a.wav", content, "audio/wav"))


def test_frames(live: Live) -> None:
    """Deltas, once the whole text, then `[DONE]`; no event but these, and no usage."""
    answer = live.post(STREAM, audio(speech_wav(30)))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-request-id"].startswith("req_")
    assert "content-length" not in answer.headers
    *deltas, done, end = frames(answer.text)
    assert end == "data: [DONE]"
    assert set(done) == {"type", "text"}
    assert done["type"] == "transcript.text.done"
    assert {tuple(delta) for delta in deltas} == {("type", "delta")}
    assert "".join(delta["delta"] for delta in deltas) == done["text"]
    assert len(done["text"].split()) > 20
    assert len(deltas) > 1


def test_logprobs(live: Live) -> None:
    """They come with the whole text when asked for."""
    answer = live.post(STREAM, ("include[]", "logprobs"), audio(speech_wav(3)))
    done = frames(answer.text)[-2]
    assert [token["token"] for token in done["logprobs"]] == [" w1", " w2"]


def test_logprobs_of_a_piece(live: Live) -> None:
    """Each piece brings those of its own tokens; put together they are those of the whole text."""
    answer = live.post(STREAM, ("include[]", "logprobs"), audio(speech_wav(30)))
    *deltas, done, _ = frames(answer.text)
    assert len(deltas) > 1
    assert [token for delta in deltas for token in delta["logprobs"]] == done["logprobs"]
    assert all(
        "".join(token["token"] for token in delta["logprobs"]).strip() == delta["delta"].strip() for delta in deltas
    )


def test_a_gap_is_told(live: Live) -> None:
    """A stretch that could not be recognised is in the last event: no listener takes the text for the whole."""
    answer = live.post(STREAM, ("prompt", "refuse-first"), audio(speech_wav(60)))
    done = frames(answer.text)[-2]
    assert done["gaps"][0]["start"] < done["gaps"][0]["end"]
    whole = live.post(("prompt", "refuse-first"), audio(speech_wav(60))).json()
    assert (done["text"], done["gaps"]) == (whole["text"], whole["gaps"])


def test_silence(live: Live) -> None:
    """Nothing said is an empty text, not an error and not a hang."""
    assert frames(live.post(STREAM, audio(silent_wav(3))).text) == [
        {"type": "transcript.text.done", "text": ""},
        "data: [DONE]",
    ]
    assert live.post(audio(silent_wav(3))).json()["text"] == ""


def test_errors_before_the_first_byte(live: Live) -> None:
    """They are ordinary errors with a status."""
    answer = live.post(STREAM, audio(speech_wav(2)[:12] + bytes(5000)))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_audio"


def test_deltas_come_early(start: Start) -> None:
    """The first words arrive while the rest is still being recognised."""
    live = start(partial(fake_app, delay=0.5))
    until(lambda: live.http.get("/health").status_code == 200)
    body, kind = multipart(STREAM, audio(speech_wav(90)))
    with live.http.stream("POST", "/v1/audio/transcriptions", content=body, headers={"Content-Type": kind}) as answer:
        arrived = [time.monotonic() for chunk in answer.iter_text() if "delta" in chunk]
    assert arrived[-1] - arrived[0] > 0.8


def test_leaving_in_the_middle(start: Start) -> None:
    """A listener who leaves stops the work, and the file goes."""
    live = start(partial(fake_app, delay=0.5))
    body, kind = multipart(STREAM, audio(speech_wav(600)))
    with live.http.stream("POST", "/v1/audio/transcriptions", content=body, headers={"Content-Type": kind}) as answer:
        next(answer.iter_text())
    until(lambda: not live.get("/v1/audio/transcriptions/status")["processing"], 5)
    until(lambda: live.spool == [])


def test_stopping_in_the_middle(start: Start) -> None:
    """When the server stops, listeners are told in the stream."""
    live = start(partial(fake_app, delay=1.0))
    body, kind = multipart(STREAM, audio(speech_wav(600)))
    with live.http.stream("POST", "/v1/audio/transcriptions", content=body, headers={"Content-Type": kind}) as answer:
        chunks = answer.iter_text()
        text = next(chunks)
        live.begin_stop()
        text += "".join(chunks)
    last = frames(text)[-1]
    assert last["error"]["code"] == "shutting_down"
    assert set(last["error"]) == {"message", "type", "param", "code"}
