"""The table of model families that run in sherpa-onnx: by which files a folder is known to hold one, and what each of
them must have, or sherpa-onnx would end the process."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stt_server.errors import ModelBroken
from stt_server.speech.engines.fit import check_ctc, check_moonshine, check_transducer, check_whisper, read_symbols
from stt_server.speech.engines.onnxfile import Header, read_header

TOKENS = "tokens"
"""The part that is no network."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model, and what a network of this place is known by."""

    pattern: str
    """Of its name, without `.onnx` or `.int8.onnx`; group `tag` is what all files of one model share."""
    inputs: str = ""
    outputs: str = ""
    """Kinds of what goes in and comes out, in order; a `?` follows what may be missing, `...` any number."""
    numbers: tuple[str, ...] = ()
    """Keys of its metadata that sherpa-onnx reads as whole numbers, and will not do without."""


_MAY_BE_ZERO = ("blank_id", "is_multilingual")


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table."""

    name: str
    title: str
    hint: str
    """A name by which people know a folder of this family."""
    parts: Mapping[str, Part]
    """By role, `TOKENS` among them."""
    check: Callable[[Mapping[str, Header], Mapping[int, str]], None]
    """Raises `ModelBroken` for what the numbers of inputs and keys do not tell. Gets headers and symbols."""
    model_types: re.Pattern[str]
    """What the first network calls itself. Some exporters write nothing."""
    word_times: bool = False
    confidences: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A folder's model of one of the families."""

    family: Family
    folder: Path
    tag: str
    files: Mapping[str, Path] = field(repr=False)
    """By role."""

    @property
    def name(self) -> str:
        """What to call it: its size, or its folder, if that says what it is."""
        if self.family is WHISPER:
            return f"whisper-{self.tag}"
        telling = re.search(self.family.hint, self.folder.name, re.IGNORECASE)
        return self.folder.name if telling else self.family.name


def find_family(folder: Path) -> Found | None:
    """Whose files a folder holds, by their names, preferring int8 to float32. None: perhaps Parakeet's.

    Raises `ModelBroken` when it holds several models.
    """
    return next((found for family in FAMILIES if (found := _find(family, folder))), None)


def missing_parts(folder: Path) -> str:
    """What is not there of the model that somebody began to put there; empty if it is not to be guessed."""
    for family in FAMILIES:
        for tag, files in _by_tag(family, folder).items():
            networks = [role for role in files if role != TOKENS]
            if len(networks) >= max(1, len(family.parts) - 3):
                wanted = [role for role in family.parts if role not in files]
                return f"{family.title} {tag.strip('-')}".strip() + f" without its {' and its '.join(wanted)}"
    return ""


def check_files(found: Found) -> dict[str, Header]:
    """Read what the files say of themselves. Raises `ModelBroken`, naming the one that does not fit."""
    headers = {role: read_header(path) for role, path in found.files.items() if role != TOKENS}
    model_type = next(iter(headers.values())).metadata.get("model_type", "")
    if not found.family.model_types.fullmatch(model_type):
        first = next(iter(headers.values())).file
        raise ModelBroken(f"{first} calls itself '{model_type}': not a {found.family.title} model.")
    for role, header in headers.items():
        _check_network(header, found.family.parts[role])
    found.family.check(headers, read_symbols(found.files[TOKENS]))
    return headers


# -- By their names --------------------------------------------------------------------------------


def _find(family: Family, folder: Path) -> Found | None:
    whole = {tag: files for tag, files in _by_tag(family, folder).items() if len(files) == len(family.parts)}
    if len(whole) > 1:
        raise ModelBroken(f"{folder} holds several models ({', '.join(sorted(whole))}). Leave one there.")
    for tag, files in whole.items():
        if family is not TRANSDUCER or tag or _is_kaldis(files["encoder"]):
            return Found(family, folder, tag, files)
    return None


def _by_tag(family: Family, folder: Path) -> dict[str, dict[str, Path]]:
    """For each model that has a file there: role to file."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found: dict[str, dict[str, Path]] = {}
    for role, part in family.parts.items():
        for ending in (r"\.txt",) if role == TOKENS else (r"\.onnx", r"\.int8\.onnx"):  # the last one wins
            for name in names:
                if match := re.fullmatch(part.pattern + ending, name):
                    found.setdefault(match.groupdict().get("tag") or "", {})[role] = folder / name
    if "(?P<tag>" not in family.parts[TOKENS].pattern and "" in found:
        shared = found[""].get(TOKENS)
        for files in found.values():
            files |= {TOKENS: shared} if shared else {}
    return found


def _is_kaldis(encoder: Path) -> bool:
    """Whether it is not Parakeet's, whose files may have the same names."""
    try:
        return read_header(encoder).metadata.get("model_type") in ("zipformer", "zipformer2", "conformer")
    except ModelBroken:
        return False


# -- By what is in them ----------------------------------------------------------------------------


def _check_network(header: Header, part: Part) -> None:
    for what, values, wanted in (
        ("inputs", header.inputs, part.inputs),
        ("outputs", header.outputs, part.outputs),
    ):
        kinds = " ".join(value.kind for value in values)
        if not _fits(kinds.split(), wanted.split()):
            raise ModelBroken(f"{header.file} has the {what} ({kinds}), not ({wanted}): a network of another kind.")
    for key in part.numbers:
        value = header.metadata.get(key, "")
        if not re.fullmatch(r"\d{1,7}", value) or (int(value) == 0 and key not in _MAY_BE_ZERO):
            raise ModelBroken(f"{header.file} does not say its {key}: its metadata are not what sherpa-onnx needs.")


def _fits(kinds: Sequence[str], wanted: Sequence[str]) -> bool:
    named = [kind for kind in wanted if kind != "..."]
    least = sum(not kind.endswith("?") for kind in named)
    return (
        least <= len(kinds)
        and (len(kinds) <= len(named) or "..." in wanted)
        and all(kind == expected.rstrip("?") for kind, expected in zip(kinds, named, strict=False))
    )


# -- The table -------------------------------------------------------------------------------------


_PLAIN_TOKENS = Part("tokens")

WHISPER = Family(
    name="whisper",
    title="Whisper",
    hint="whisper",
    parts={
        "encoder": Part(
            r"(?P<tag>.+)-encoder",
            inputs="float",
            outputs="float float",
            numbers=(
                *("n_mels", "n_text_layer", "n_text_ctx", "n_text_state", "n_vocab", "sot", "eot", "blank_id"),
                *("translate", "transcribe", "is_multilingual", "no_timestamps", "no_speech"),
            ),
        ),
        "decoder": Part(
            r"(?P<tag>.+)-decoder", inputs="int float float float float int", outputs="float float float float?"
        ),
        "tokens": Part(r"(?P<tag>.+)-tokens"),
    },
    check=check_whisper,
    model_types=re.compile("whisper.*"),
)
TRANSDUCER = Family(
    name="zipformer",
    title="Zipformer transducer",
    hint="zipformer|conformer",
    parts={
        "encoder": Part(r"encoder(?P<tag>(-[^.]+)?)", inputs="float int", outputs="float int"),
        "decoder": Part(
            r"decoder(?P<tag>(-[^.]+)?)", inputs="int", outputs="float", numbers=("vocab_size", "context_size")
        ),
        "joiner": Part(r"joiner(?P<tag>(-[^.]+)?)", inputs="float float", outputs="float"),
        "tokens": _PLAIN_TOKENS,
    },
    check=check_transducer,
    model_types=re.compile("zipformer2?|conformer|"),
    word_times=True,
    confidences=True,
)
MOONSHINE = Family(
    name="moonshine",
    title="Moonshine",
    hint="moonshine",
    parts={
        "preprocessor": Part("preprocess", inputs="float", outputs="float"),
        "encoder": Part("encode", inputs="float int", outputs="float"),
        "uncached_decoder": Part("uncached_decode", inputs="int float int", outputs="float ..."),
        "cached_decoder": Part("cached_decode", inputs="int float int ...", outputs="float ..."),
        "tokens": _PLAIN_TOKENS,
    },
    check=check_moonshine,
    model_types=re.compile(""),
)
NEMO_CTC = Family(
    name="nemo-ctc",
    title="NeMo CTC",
    hint="nemo|ctc|giga-?am",
    parts={
        "model": Part("model", inputs="float int", outputs="float ...", numbers=("vocab_size", "subsampling_factor")),
        "tokens": _PLAIN_TOKENS,
    },
    check=check_ctc,
    model_types=re.compile("EncDec.*"),
    word_times=True,
)
FAMILIES: Sequence[Family] = (WHISPER, TRANSDUCER, MOONSHINE, NEMO_CTC)
