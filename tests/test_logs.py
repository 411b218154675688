"""What a log line shows, and what it never shows."""

import json
import logging

import pytest

from stt_server.logs import JsonFormatter, TextFormatter, configure, redact, request_id

SECRET = "hunter2-4f9c"


@pytest.mark.parametrize(
    "line",
    [
        f"GET https://pbx/recording?token={SECRET}&download=1",
        f"GET https://pbx/recording?x=1&api_key={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"'authorization': 'Bearer {SECRET}'",
        f'{{"password": "{SECRET}"}}',
        f"https://user:{SECRET}@pbx/",
        f"bearer {SECRET}",
        f"client_secret={SECRET}",
    ],
)
def test_no_secret_survives(line: str) -> None:
    """Tokens, keys, passwords and userinfo are blanked, whatever library wrote the line."""
    assert SECRET not in redact(line)


def test_ordinary_text_is_left_alone() -> None:
    """A line without secrets is not changed."""
    line = "job completed job_id=6f1c seconds=1.25 outcome=completed"
    assert redact(line) == line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_facts_stand_beside_the_message(formatter: logging.Formatter) -> None:
    """`extra` and the request id are on the line, tracebacks below it, secrets nowhere."""
    record = logging.makeLogRecord(
        {"msg": "job ended", "name": "stt_server.jobs", "job_id": "6f1c", "levelname": "INFO"}
    )
    try:
        raise ValueError(f"token={SECRET}")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    token = request_id.set("req_1")
    line = formatter.format(record)
    request_id.reset(token)
    assert "job ended" in line
    assert "6f1c" in line
    assert "req_1" in line
    assert "ValueError" in line
    assert SECRET not in line


def test_a_json_line_is_one_object() -> None:
    """Whatever is in the facts, a line parses."""
    record = logging.makeLogRecord({"msg": "é\n", "where": object(), "levelname": "INFO"})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "é\n"


def test_libraries_speak_only_of_trouble(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the most talkative level a library's lines stay out, whichever library it is: they may hold anything."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    level = root.level
    try:
        configure("debug")
        for name in ("stt_server.jobs.queue", "a_library.of_tomorrow"):
            for number in (logging.DEBUG, logging.INFO, logging.WARNING):
                logging.getLogger(name).log(number, "a line", extra={"of": name, "at": number})
    finally:
        root.setLevel(level)
    lines = [line.rpartition(" of=")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [*(f"stt_server.jobs.queue at={number}" for number in (10, 20, 30)), "a_library.of_tomorrow at=30"]
