"""What must be true within a model of each family that sherpa-onnx runs, beyond the kinds of its networks.

Untrue, most of these things end the process, or hang it (seen with 2.0.1).
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from stt_server.errors import ModelBroken
from stt_server.speech.engines.onnxfile import Header

_MOST_TOKENS = 1_000_000
"""Four times the largest vocabulary there is; sherpa-onnx takes any number, and breaks."""


def read_symbols(path: Path) -> dict[int, str]:
    """The tokens file: a symbol and its number a line; a number alone is the space. Raises `ModelBroken`."""
    try:
        # As bytes: some symbols are spaces and ends of lines, but not of ASCII.
        rows = [line.split() for line in path.read_bytes().split(b"\n") if line.strip()]
        symbols = {int(row[-1]): row[0].decode() if len(row) > 1 else " " for row in rows}
    except (OSError, ValueError) as error:
        raise ModelBroken(f"{path.name} cannot be read: {error}") from error
    if stray := [number for number in symbols if not 0 <= number < _MOST_TOKENS]:
        raise ModelBroken(f"{path.name} lists a token number {stray[0]}: there are no such.")
    return symbols


def check_whisper(headers: Mapping[str, Header], symbols: Mapping[int, str]) -> None:
    """Lists that belong together, and tokens that can be decoded. Raises `ModelBroken`."""
    header = headers["encoder"]
    lists = ["sot_sequence"]
    if header.metadata["is_multilingual"] != "0":
        lists.append("all_language_tokens")
        if len(languages(header)) != header.metadata.get("all_language_tokens", "").count(",") + 1:
            raise ModelBroken(f"{header.file} names another number of languages than of tokens for them.")
    for key in lists:
        if not re.fullmatch(r"\d+(,\d+)*", header.metadata.get(key, "")):
            raise ModelBroken(f"{header.file} does not say its {key}: its metadata are not what sherpa-onnx needs.")
    try:
        for symbol in symbols.values():
            base64.b64decode(symbol, validate=True)
    except ValueError as error:
        raise ModelBroken(f"The tokens of Whisper are written in base64, and these are not: {error}") from error


def languages(encoder: Header) -> tuple[str, ...]:
    """ISO 639-1 codes that a Whisper can be told; none if it knows English only."""
    if encoder.metadata["is_multilingual"] == "0":
        return ()
    return tuple(code for code in encoder.metadata.get("all_language_codes", "").split(",") if code)


def check_transducer(headers: Mapping[str, Header], symbols: Mapping[int, str]) -> None:
    """A symbol for every token. Raises `ModelBroken`."""
    _check_symbols(symbols, int(headers["decoder"].metadata["vocab_size"]), headers["decoder"].file)


def check_ctc(headers: Mapping[str, Header], symbols: Mapping[int, str]) -> None:
    """Features that sherpa-onnx can make, a blank, and a symbol for every token. Raises `ModelBroken`."""
    model = headers["model"]
    if (normalisation := model.metadata.get("normalize_type", "")) not in ("", "NA", "per_feature"):
        raise ModelBroken(f"{model.file} wants features normalised by '{normalisation}': not supported.")
    if not {"<blk>", "<eps>", "<blank>"} & set(symbols.values()):
        raise ModelBroken("tokens.txt has no <blk> token: it is of another kind of model.")
    _check_symbols(symbols, int(model.metadata["vocab_size"]), model.file)


def _check_symbols(symbols: Mapping[int, str], count: int, file: str) -> None:
    if missing := [number for number in range(count) if number not in symbols]:
        raise ModelBroken(
            f"{file} has {count} tokens and tokens.txt does not list number {missing[0]}: they do not belong together."
        )


def check_moonshine(headers: Mapping[str, Header], symbols: Mapping[int, str]) -> None:
    """States that are handed on from one decoder to the other. Raises `ModelBroken`."""
    states = len(headers["uncached_decoder"].outputs) - 1
    cached = headers["cached_decoder"]
    if states < 1 or (len(cached.inputs), len(cached.outputs)) != (3 + states, 1 + states):
        raise ModelBroken(f"{cached.file} does not carry on what {headers['uncached_decoder'].file} begins.")
    if not symbols:
        raise ModelBroken("tokens.txt is empty.")
