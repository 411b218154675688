"""The fields of a submission: what may be asked for, and what of it makes sense together."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from stt_server.errors import BadRequest, ModelNotFound, UnsupportedOption
from stt_server.speech.formats import FORMATS, Rendering
from stt_server.speech.language import parse_language
from stt_server.types import Key, Options

LONGEST_ID = 255
"""Characters."""
GRANULARITIES = frozenset({"segment", "word"})
STREAMABLE = ("json", "text")
"""Formats that a stream of deltas can stand for; the others need the whole transcript."""
NAMES_LANGUAGES = "gpt-transcribe"
"""Of OpenAI's models, the one whose `json` has `languages`. LiveKit's plugin reads them."""
DIARIZATION_FIELDS = ("known_speaker_names", "known_speaker_references")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a submission asks for, validated."""

    options: Options
    response_format: str
    rendering: Rendering
    stream: bool


class Form:
    """The fields read so far. Empty text means absent, except in the two ids."""

    def __init__(self, response_format: str | None = None) -> None:
        self._values: dict[str, list[str]] = {}
        if response_format:
            self.add("response_format", response_format)

    def add(self, name: str, value: str) -> None:
        """One more field. Of a repeated one that is not a list, the first counts."""
        self._values.setdefault(name.removesuffix("[]"), []).append(value)

    def get(self, name: str) -> str | None:
        """A field's text, None when it is absent or empty."""
        return next((value.strip() for value in self._values.get(name, ()) if value.strip()), None)

    def listed(self, name: str) -> tuple[str, ...]:
        """A list's items: repeated, joined with commas, or both."""
        items = ",".join(self._values.get(name, ())).split(",")
        return tuple(item.strip() for item in items if item.strip())

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def force(self) -> bool:
        """Transcribe again what is known already."""
        return (self.get("force") or "").lower() in _TRUE

    def key(self, tenant: str, *, complete: bool) -> Key | None:
        """The recording's name, None when the caller waits in the call; while not `complete`, or not yet known."""
        given = {name: self._id(name) for name in ("user_uuid", "message_id") if name in self}
        if len(given) == 2:
            return Key(tenant, **given)
        if given and complete:
            raise BadRequest("Send both `user_uuid` and `message_id`, or neither of them.", param=_other(*given))
        return None

    def _id(self, name: str) -> str:
        return check_id(name, self._values[name][0])

    def wanted(self, model: str, ids: Collection[str]) -> Wanted:
        """What the fields so far ask for. `model` answers to all of `ids`. Raises `BadRequest` and its kin."""
        self._refuse_diarization()
        _check_model(self.get("model"), ids)
        self._check_temperature()
        response_format = check_format(self.get("response_format"), "json")
        stream = self._stream()
        if stream and response_format not in STREAMABLE:
            raise UnsupportedOption(f"`{response_format}` cannot be streamed.", param="response_format")
        language = self.get("language")
        return Wanted(
            Options(
                model=model,
                language=parse_language(language) if language else None,
                prompt=self.get("prompt"),
                keyterms=self.listed("keywords"),
            ),
            response_format,
            self.rendering(),
            stream,
        )

    def rendering(self) -> Rendering:
        """What may be chosen within a format. Granularities count with `verbose_json`; elsewhere they do no harm."""
        granularities = frozenset(self.listed("timestamp_granularities"))
        if granularities - GRANULARITIES:
            raise BadRequest("`timestamp_granularities` are `word` and `segment`.", param="timestamp_granularities")
        include = self.listed("include")
        if set(include) - {"logprobs"}:
            raise UnsupportedOption("`include` can only be `logprobs`.", param="include")
        return Rendering(
            granularities or frozenset({"segment"}),
            logprobs=bool(include),
            languages=self.get("model") == NAMES_LANGUAGES,
        )

    def _refuse_diarization(self) -> None:
        if any(self.listed(name) for name in DIARIZATION_FIELDS):
            raise UnsupportedOption("This server does not tell speakers apart.", param=DIARIZATION_FIELDS[0])
        if "diarize" in (self.get("model") or ""):
            raise UnsupportedOption("This server does not tell speakers apart.", param="model")

    def _check_temperature(self) -> None:
        """It is checked and has no effect: the decoder has no chance in it."""
        value = self.get("temperature")
        try:
            number = float(value or 0)
        except ValueError:
            number = math.nan
        if not 0 <= number <= 1:
            raise BadRequest("`temperature` is a number from 0 to 1.", param="temperature")

    def _stream(self) -> bool:
        value = (self.get("stream") or "false").lower()
        if value not in _TRUE + _FALSE:
            raise BadRequest("`stream` is `true` or `false`.", param="stream")
        return value in _TRUE


def check_id(name: str, value: str) -> str:
    """A caller's own id: 1 to 255 printable characters."""
    value = value.strip()
    if not value or len(value) > LONGEST_ID or not value.isprintable():
        raise BadRequest(f"`{name}` must have 1 to {LONGEST_ID} printable characters.", param=name)
    return value


def check_format(value: str | None, default: str) -> str:
    """The name of a response format."""
    if value == "diarized_json":
        raise UnsupportedOption("This server does not tell speakers apart.", param="response_format")
    if value and value not in FORMATS:
        known = ", ".join(f"`{name}`" for name in FORMATS)
        raise UnsupportedOption("`response_format` is one of " + known + ".", param="response_format")
    return value or default


def _check_model(name: str | None, ids: Collection[str]) -> None:
    if name and name not in ids:
        raise model_not_found(name, ids)


def model_not_found(name: str, ids: Collection[str]) -> ModelNotFound:
    """Names what there is."""
    return ModelNotFound(f"The model `{name[:100]}` does not exist here. There is: {', '.join(ids)}.", param="model")


def _other(given: str) -> str:
    return "message_id" if given == "user_uuid" else "user_uuid"
