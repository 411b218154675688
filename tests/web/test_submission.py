"""What a submission may look like, what is refused, and in which order it is judged."""

import socket
import threading
import time
from functools import partial

import pytest

from tests.sounds import speech_wav
from tests.web.conftest import Start
from tests.web.live import Live, Part, fake_app, multipart, read_answer, until

AUDIO = speech_wav(2)
FILE: Part = ("file", ("a.wav", AUDIO, "audio/wav"))
TEXT = "w1"
IDS: list[Part] = [("user_uuid", "u1"), ("message_id", "m1")]


def short(value: object) -> str:
    """An id for a test: pytest puts it into the environment, where a recording does not fit."""
    return repr(value)[:60].encode("ascii", "replace").decode().replace("\\", "/")


def refused(live: Live, *parts: Part, path: str = "/v1/audio/transcriptions") -> tuple[int, str | None, str | None]:
    """Status, param and code of a refusal, whose shape is checked."""
    answer = live.post(*parts, path=path)
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return answer.status_code, error["param"], error["code"]


# -- Forms as they come ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        [("model", "whisper-1"), FILE],
        [FILE, ("model", "whisper-1")],
        [FILE],
        [("model", ""), ("language", ""), ("prompt", ""), ("response_format", ""), ("temperature", ""), FILE],
        [FILE, ("stream", "false"), ("what_is_this", "x"), ("temperature", "0.3")],
        [FILE, ("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.4")],
        [FILE, ("chunking_strategy", '{"type": "server_vad"}'), ("languages[]", "fr"), ("keywords[]", "a, b")],
        [("file", ("", AUDIO, None))],
        [("file", ("upload", AUDIO, "application/octet-stream"))],
        [("file", (None, AUDIO, "audio/wav"))],
        [("other", ("x.bin", b"zzz" * 9999, None)), FILE],
        [("file", ""), FILE],
    ],
    ids=short,
)
def test_every_client_is_understood(live: Live, parts: list[Part]) -> None:
    """Any order, empty fields, unknown fields, odd file parts: the answer is the same."""
    answer = live.post(*parts)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == TEXT


@pytest.mark.parametrize(
    "fields",
    [
        [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
        [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
        [("timestamp_granularities", "word,segment")],
        [("timestamp_granularities[]", "segment, word")],
    ],
    ids=short,
)
def test_every_spelling_of_a_list(live: Live, fields: list[Part]) -> None:
    """With and without brackets, repeated and joined with commas."""
    body = live.post(*fields, ("response_format", "verbose_json"), FILE).json()
    assert body["words"]
    assert body["segments"]


def test_granularities_alone_do_no_harm(live: Live) -> None:
    """They mean nothing without `verbose_json`, and are no reason to refuse."""
    assert live.post(("timestamp_granularities[]", "word"), FILE).json()["text"] == TEXT


def test_gpt_transcribe_names_the_language(live: Live) -> None:
    """Clients that know this model read `languages`; of the others OpenAI's answer has none."""
    new, french = ("model", "gpt-transcribe"), ("language", "fr")
    assert live.post(new, french, FILE).json()["languages"] == [{"code": "fr"}]
    assert '"languages":[{"code":"fr"}]' in live.post(new, french, ("stream", "true"), FILE).text
    assert live.post(new, FILE).json()["languages"] == []
    assert "languages" not in live.post(french, FILE).json()


def test_the_format_may_stand_in_the_query(live: Live) -> None:
    """`?response_format=` is the same as the field, and an empty one is none."""
    path = "/v1/audio/transcriptions?response_format="
    assert live.post(FILE, path=path + "text").text == TEXT + "\n"
    assert live.post(FILE, path=path).json()["text"] == TEXT


def test_text_formats_are_not_json(live: Live) -> None:
    """Subtitles and plain text go out as they are."""
    for name in ("text", "srt", "vtt"):
        answer = live.post(("response_format", name), FILE)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text.endswith("\n")
        assert not answer.text.startswith('"')


def test_a_body_without_a_length(live: Live) -> None:
    """Node streams uploads in chunks: nothing depends on Content-Length."""
    body, kind = multipart(FILE)
    pieces = (body[i : i + 1000] for i in range(0, len(body), 1000))
    answer = live.http.post("/v1/audio/transcriptions", content=pieces, headers={"Content-Type": kind})
    assert answer.json()["text"] == TEXT


# -- What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "status", "param", "code"),
    [
        ([], 400, None, "bad_request"),
        ([("model", "whisper-1")], 400, None, "bad_request"),
        ([("file", "just text")], 400, None, "bad_request"),
        ([("file", "")], 400, None, "bad_request"),
        ([("file", " "), ("url", "ftp://example.com/a.wav")], 400, "url", "invalid_url"),
        ([("file", ("a.wav", b"", "audio/wav"))], 400, "file", "invalid_audio"),
        ([("file", ("", b"", "application/octet-stream"))], 400, None, "bad_request"),
        ([("file", ("a.wav", b"I am text. " * 1000, "audio/wav"))], 400, "file", "invalid_audio"),
        ([("file", ("a.m3u8", b"#EXTM3U\nfile:///etc/passwd\n", None))], 400, "file", "invalid_audio"),
        ([FILE, FILE], 400, "file", "bad_request"),
        ([("user_uuid", "u"), FILE], 400, "message_id", "bad_request"),
        ([("message_id", "m"), FILE], 400, "user_uuid", "bad_request"),
        ([("user_uuid", ""), ("message_id", "m"), FILE], 400, "user_uuid", "bad_request"),
        ([("user_uuid", "u"), ("message_id", " "), FILE], 400, "message_id", "bad_request"),
        ([("user_uuid", "u" * 256), ("message_id", "m"), FILE], 400, "user_uuid", "bad_request"),
        ([("user_uuid", "u\n"), ("message_id", "m\0"), FILE], 400, "message_id", "bad_request"),
        ([*IDS, ("stream", "true"), FILE], 400, "stream", "unsupported_value"),
        ([("stream", "true"), ("response_format", "srt"), FILE], 400, "response_format", "unsupported_value"),
        ([("stream", "maybe"), FILE], 400, "stream", "bad_request"),
        ([("model", "gpt-9"), FILE], 404, "model", "model_not_found"),
        ([("model", "org/name"), FILE], 404, "model", "model_not_found"),
        ([("response_format", "yaml"), FILE], 400, "response_format", "unsupported_value"),
        ([("response_format", "diarized_json"), FILE], 400, "response_format", "unsupported_value"),
        ([("known_speaker_names[]", "A"), FILE], 400, "known_speaker_names", "unsupported_value"),
        ([("temperature", "2"), FILE], 400, "temperature", "bad_request"),
        ([("temperature", "nan"), FILE], 400, "temperature", "bad_request"),
        ([("temperature", "warm"), FILE], 400, "temperature", "bad_request"),
        ([("language", "klingon!"), FILE], 400, "language", "invalid_language_format"),
        ([("timestamp_granularities[]", "letter"), FILE], 400, "timestamp_granularities", "bad_request"),
        ([("include[]", "magic"), FILE], 400, "include", "unsupported_value"),
        ([("prompt", b"\xff\xfe"), FILE], 400, "prompt", "bad_request"),
        ([("prompt", "p" * 70_000), FILE], 400, "prompt", "bad_request"),
        ([(f"f{i}", "x") for i in range(65)], 400, None, "bad_request"),
        ([(f"f{i}", (f"{i}.bin", b"x", None)) for i in range(4)], 400, None, "bad_request"),
        ([("url", "ftp://example.com/a.wav")], 400, "url", "invalid_url"),
    ],
    ids=short,
)
def test_what_is_refused(live: Live, parts: list[Part], status: int, param: str | None, code: str) -> None:
    """Each mistake is named, with the field to blame, and leaves nothing behind."""
    assert refused(live, *parts) == (status, param, code)
    assert until(lambda: live.spool == [])


@pytest.mark.parametrize("content", [b"just text", AUDIO[:3000], b"x" * 100_000], ids=short)
def test_a_file_sent_as_a_field(live: Live, content: bytes) -> None:
    """`curl -F file=<a.wav`, and forms written by hand: what is missing is said, not that a field is too long."""
    error = live.post(("file", content)).json()["error"]
    assert "[body -> file]" in error["message"]
    assert "file name" in error["message"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"", ""),
        (AUDIO, "audio/wav"),
        (b"--XX\r\n", "multipart/form-data"),
        (b"--YY\r\n\r\n", "multipart/form-data; boundary=XX"),
        (b"no boundary at all", "multipart/form-data; boundary=XX"),
        (multipart(FILE)[0][:-40], "multipart/form-data; boundary=XX"),
        (b"--XX\r\nX: y\r\n\r\nzzz\r\n--XX--\r\n", "multipart/form-data; boundary=XX"),
        (b"--XX\r\nX: " + b"y" * 9000 + b"\r\n\r\nzzz\r\n--XX--\r\n", "multipart/form-data; boundary=XX"),
        (b"--XX\r\n", "multipart/form-data; boundary=" + "X" * 300),
        (b"url=%ff", "application/x-www-form-urlencoded"),
        (b"file=a.wav&url=http://example.com/", "application/x-www-form-urlencoded"),
        (b"url=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
    ],
    ids=short,
)
def test_bodies_that_are_no_form(live: Live, content: bytes, kind: str) -> None:
    """Malformed bodies and other content types are the client's fault, in the usual shape."""
    answer = live.http.post("/v1/audio/transcriptions", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert until(lambda: live.spool == [])


def test_bad_audio_is_refused_in_the_call(live: Live) -> None:
    """A file that begins well and goes on badly ends as 400, too short as its own code."""
    broken = AUDIO[:12] + bytes(3000)
    answer = live.post(("file", ("a.wav", broken, None)))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    answer = live.post(("file", ("a.wav", speech_wav(0.05), None)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "audio_too_short")


def test_translations_are_refused(live: Live) -> None:
    """Clearly and at once, not as a missing address."""
    assert refused(live, FILE, path="/v1/audio/translations")[0] == 400


# -- Size --------------------------------------------------------------------------------------------


def test_too_large_by_its_header(start: Start) -> None:
    """A body announced as too large is refused before any of it is sent, and the connection lives on."""
    live = start(max_upload_bytes=100_000)
    with live.socket() as connection:
        head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
        connection.sendall(f"{head}Content-Length: 100000000\r\n\r\n".encode())
        status, headers, body = read_answer(connection)
    assert status == 413
    assert b'"type":"server_error","param":null' in body
    assert "x-request-id" in headers


def test_too_large_by_counting(start: Start) -> None:
    """Without a length the bytes are counted; what was written is removed."""
    live = start(max_upload_bytes=1_000_000)
    body, kind = multipart(("file", ("a.wav", speech_wav(100), None)))
    assert len(body) > 1_500_000
    pieces = (body[i : i + 10_000] for i in range(0, len(body), 10_000))
    answer = live.http.post("/v1/audio/transcriptions", content=pieces, headers={"Content-Type": kind})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (413, None, "upload_too_large")
    until(lambda: live.spool == [])


def test_exactly_as_large_as_allowed(start: Start) -> None:
    """The limit is for the file, not for the form around it."""
    live = start(max_upload_bytes=len(AUDIO))
    assert live.post(FILE).status_code == 200


def test_no_space(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not the client's fault: 503, try again later, and nothing is kept."""
    live = start()
    with monkeypatch.context() as full:
        # The one way to fill a disk without root: nothing is free any more beside the reserve.
        full.setattr("stt_server.jobs.spool.RESERVE_BYTES", 1 << 60)
        answer = live.post(FILE)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "storage_full"
    assert int(answer.headers["retry-after"]) >= 1
    assert live.spool == []
    assert live.post(FILE).status_code == 200


# -- The order of checks -----------------------------------------------------------------------------


def fill(live: Live) -> list[str]:
    """Submit jobs until no more is taken; their ids."""
    jobs: list[str] = []
    for number in range(20):
        answer = live.post(("user_uuid", "filler"), ("message_id", str(number)), FILE)
        if answer.status_code == 429:
            assert answer.json()["error"]["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
            return jobs
        jobs.append(answer.json()["job_id"])
    raise AssertionError("it is never full")


slow_app = partial(fake_app, delay=30)


def test_a_full_queue(start: Start) -> None:
    """A known key is answered all the same; anything new is refused before its audio is sent."""
    live = start(slow_app, max_queue_size=1)
    jobs = fill(live)
    known = live.post(("user_uuid", "filler"), ("message_id", "0"))
    assert known.status_code == 200
    assert known.json() == {
        "job_id": jobs[0],
        "status": known.json()["status"],
        "queue_position": None,
        "message": "Transcription already exists",
        "cached": True,
    }
    with_file = live.post(("user_uuid", "filler"), ("message_id", "0"), FILE)
    assert with_file.json()["job_id"] == jobs[0]
    status = live.get("/v1/audio/transcriptions/status")
    assert status == {"queue_length": 1, "processing": True, "max_queue_size": 1}
    with live.socket() as connection:
        begin_upload(connection)
        assert read_answer(connection)[0] == 429
    assert live.post(("url", "http://127.0.0.1:9/a.wav")).status_code == 429
    # What is wrong in itself stays wrong.
    assert refused(live, *IDS[:1], ("url", "http://127.0.0.1:9/a.wav"))[0] == 400
    assert refused(live, ("model", "gpt-9"), FILE)[0] == 404
    assert refused(live, *IDS)[0] == 400
    assert live.get("/v1/audio/transcriptions/status")["queue_length"] == 1


def begin_upload(connection: socket.socket) -> None:
    """The headers of a large upload, and the beginning of its file."""
    body, kind = multipart(FILE)
    begun = body[: body.index(b"RIFF") + 100]
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 9999999\r\n\r\n"
    )
    connection.sendall(head.encode() + begun)


def test_nobody_is_there_any_more(start: Start) -> None:
    """A client that leaves during its upload leaves nothing behind: no file, no place taken."""
    live = start(max_queue_size=1)
    for _ in range(3):
        with live.socket() as connection:
            begin_upload(connection)
            connection.sendall(bytes(700_000))
            until(lambda: live.spool)
        until(lambda: live.spool == [])
    assert live.post(FILE).status_code == 200


def test_a_client_that_leaves_while_it_waits(start: Start) -> None:
    """Its recording is given up: the queue is empty again and the file gone."""
    live = start(slow_app)
    with live.socket() as connection:
        body, kind = multipart(FILE)
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: live.get("/v1/audio/transcriptions/status")["processing"])
    until(lambda: not live.get("/v1/audio/transcriptions/status")["processing"])
    until(lambda: live.spool == [])


def test_a_force_behind_the_file(live: Live) -> None:
    """`force` counts wherever it stands in the form, even for a known key whose file came before it."""
    first = live.job(AUDIO, "force-order")
    live.ended(first["job_id"])
    ids: list[Part] = [("user_uuid", "u1"), ("message_id", "force-order")]
    again = live.post(*ids, FILE, ("force", "true")).json()
    assert again["cached"] is False
    assert again["job_id"] != first["job_id"]
    live.ended(again["job_id"])
    # Known, not forced: whatever the file is.
    assert live.post(*ids, ("file", ("x", b"not audio", None))).json()["cached"]
    assert live.post(("file", ("x.wav", AUDIO, None)), *ids).json()["cached"]
    forced = live.post(*ids, ("file", ("x", b"not audio", None)), ("force", "1"))
    assert forced.status_code == 400


def test_health_answers_during_uploads(live: Live) -> None:
    """An upload of a hundred megabytes does not stop the server from answering others."""
    big = AUDIO + bytes(100_000_000)
    slowest = 0.0
    upload = threading.Thread(target=lambda: live.post(("file", ("a.wav", big, None)), ("model", "gpt-9")))
    upload.start()
    while upload.is_alive():
        began = time.monotonic()
        assert live.http.get("/health/live").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    upload.join()
    assert slowest < 1.0
