"""Structured log lines: a constant message, facts beside it, ids, and a filter that keeps secrets out."""

import json
import logging
import re
import select
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the HTTP request being answered; every line logged meanwhile carries it."""

_SECRET = re.compile(
    r"(?P<name>(?:token|key|secret|password|passwd|authorization)\"?\s*[=:]\s*\"?)(?:bearer\s+)?[^\s&\"',;}]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<name>bearer\s+)[^\s\"',;]+", re.IGNORECASE)
_USERINFO = re.compile(r"(?P<name>\b[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)
_PIECE_CHARACTERS = 1024
"""At most 4096 bytes, for which a pipe has room when it says that it has some."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def redact(text: str) -> str:
    """Blank what looks like a secret: a second net, for texts that come from libraries."""
    for pattern in (_SECRET, _BEARER):
        text = pattern.sub(r"\g<name>***", text)
    return _USERINFO.sub(r"\g<name>***@", text)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if current := request_id.get():
        facts.setdefault("request_id", current)
    return facts


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO    queue: job completed  job_id=… seconds=1.2`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line, and the traceback below it if there is one."""
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        name = record.name.removeprefix("stt_server.")
        line = f"{when} {record.levelname:<7} {name}: {record.getMessage()}"
        line += "".join(f" {key}={value}" for key, value in _facts(record).items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one object."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, ensure_ascii=False, default=str))


Style = Literal["text", "json"]


def current() -> tuple[str, Style]:
    """Level and style of this process, for its children to `configure` alike."""
    handlers = logging.getLogger().handlers
    as_json = any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)
    return logging.getLevelName(logging.getLogger().level), "json" if as_json else "text"


def _is_safe(record: logging.LogRecord) -> bool:
    """Lines of ours, and warnings. What libraries say below those holds whole URLs, statements and bodies."""
    return record.name.startswith("stt_server") or record.levelno >= logging.WARNING


class _Handler(logging.StreamHandler[TextIO]):
    """Leaves out what nobody reads: a log collector that stands still would stop the whole server."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line as far as somebody takes it."""
        try:
            line = self.format(record) + self.terminator
            for at in range(0, len(line), _PIECE_CHARACTERS):
                if _is_taken(self.stream):
                    self.stream.write(line[at : at + _PIECE_CHARACTERS])
                    self.flush()
        except Exception:
            self.handleError(record)


def _is_taken(stream: TextIO) -> bool:
    """Whether a piece can be written without waiting."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        return True  # no file of the system, but one of a test's


def configure(level: str = "info", style: Style = "text") -> None:
    """Send every line of this process to standard error, through the filters."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    handler.addFilter(_is_safe)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # They would be filtered out; so they need not be made.
    for name in ("httpx", "httpcore", "uvicorn.access", "aiosqlite"):
        logging.getLogger(name).setLevel(logging.WARNING)
