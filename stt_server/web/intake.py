"""The body of a submission as a stream of pieces: fields whole, files as they come, everything counted.

The file never passes through memory as a whole nor through a temporary file of a framework's choosing.
"""

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from stt_server.errors import BadRequest, TooLarge

log = logging.getLogger(__name__)

MAX_FILES = 3
MAX_FIELDS = 64
"""Lists are sent as repeated fields: up to 16 keywords and as many known speakers are usual."""
MAX_FIELD_BYTES = 64 * 1024
MAX_FORM_BYTES = MAX_FIELDS * MAX_FIELD_BYTES
"""What a body may hold beside its file."""
LIKELY_FORM_BYTES = 64 * 1024
"""What it holds at most in practice: a longer body is refused by its header alone."""


@dataclass(frozen=True, slots=True)
class Text:
    """One whole field."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileStart:
    """A file begins."""

    field: str
    name: str
    """As the client calls it; may be empty."""


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The next bytes of the file that has begun."""

    data: bytes


Piece = Text | FileStart | FileBytes


async def pieces(request: Request, *, max_file_bytes: int) -> AsyncGenerator[Piece, None]:
    """Everything the body holds, in its order.

    Raises `BadRequest`, `TooLarge`, and starlette's `ClientDisconnect` when the client has gone.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if int(request.headers.get("content-length", 0)) > max_file_bytes + LIKELY_FORM_BYTES:
        raise _too_large(max_file_bytes)
    if kind == b"multipart/form-data":
        async for piece in _multipart(request, parameters.get(b"boundary", b""), max_file_bytes):
            yield piece
    elif kind == b"application/x-www-form-urlencoded":
        for piece in await _urlencoded(request):
            yield piece
    else:
        raise BadRequest("Send the body as multipart/form-data, with the audio in a part named `file`.")


async def _multipart(request: Request, boundary: bytes, max_file_bytes: int) -> AsyncGenerator[Piece, None]:
    form = _Form(boundary)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_file_bytes + MAX_FORM_BYTES:
            raise _too_large(max_file_bytes)
        for piece in form.feed(chunk):
            yield piece
    if not form.ended:
        raise BadRequest("The multipart body ends before its last boundary.")


async def _urlencoded(request: Request) -> list[Piece]:
    """A form without a file: enough for a `url`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FIELD_BYTES:
            raise BadRequest("The form is too long.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise BadRequest("The form cannot be read: too many fields, or not in UTF-8.") from error
    for name, value in pairs:
        _check_text(name, value.encode())
    return [Text(name, value) for name, value in pairs]


def _check_text(name: str, data: bytes) -> None:
    """The audio must not be text. An empty field is like none."""
    if name == "file" and data.strip():
        raise BadRequest("[body -> file] must be a file: what was sent has no file name.")


def _too_large(max_file_bytes: int) -> TooLarge:
    return TooLarge(f"The upload is larger than this server accepts ({max_file_bytes} bytes).")


class _Form:
    """Bytes in, pieces out."""

    def __init__(self, boundary: bytes) -> None:
        self.ended = False
        self._found: list[Piece] = []
        self._headers: dict[bytes, bytes] = {}
        self._header = b""
        self._value = b""
        self._field: str | None = None
        """Name of the field being read; None within a file."""
        self._text = bytearray()
        self._fields = self._files = 0
        try:
            self._parser = MultipartParser(
                boundary or _no_boundary(),
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._finish,
                },
            )
        except FormParserError as error:
            raise BadRequest("The multipart boundary is not valid.") from error

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that these bytes complete."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest("The multipart body is malformed.") from error
        found, self._found = self._found, []
        return found

    def _begin(self) -> None:
        self._headers.clear()
        self._text.clear()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, facts = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in facts:
            raise BadRequest("A part of the multipart body has no name.")
        name = _decoded(facts[b"name"])
        kind, _ = parse_options_header(self._headers.get(b"content-type"))
        # A few clients name no file but tell its type.
        is_file = b"filename" in facts or (kind not in (b"", b"text/plain") and name == "file")
        self._field = None if is_file else name
        self._files += is_file
        self._fields += not is_file
        if self._files > MAX_FILES or self._fields > MAX_FIELDS:
            raise BadRequest(f"Too many parts: at most {MAX_FILES} files and {MAX_FIELDS} fields.")
        if is_file:
            self._found.append(FileStart(name, facts.get(b"filename", b"").decode(errors="replace")))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._found.append(FileBytes(data[start:end]))
            return
        _check_text(self._field, data[start:end])
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD_BYTES:
            raise BadRequest(f"The field is longer than {MAX_FIELD_BYTES} bytes.", param=self._field)

    def _end(self) -> None:
        if self._field is not None:
            self._found.append(Text(self._field, _decoded(bytes(self._text), self._field)))

    def _finish(self) -> None:
        self.ended = True


def _decoded(data: bytes, field: str | None = None) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The form is not in UTF-8.", param=field) from error


def _no_boundary() -> bytes:
    raise BadRequest("The content type names no multipart boundary.")
