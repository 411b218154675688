"""The model's tokens file: one piece of text and its number a line."""

import re
from dataclasses import dataclass
from pathlib import Path

from stt_server.errors import ModelBroken

_MARK = re.compile(r"<[^<>\s]+>")
"""`<unk>`, `<|en|>`, `<0x0A>`: instructions and bytes, not text. Parakeet v3 has some hundred of them."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What each row of the joint network's answer stands for."""

    texts: tuple[str | None, ...]
    """By token id, with a leading space where a word begins; None where the token is not text."""
    blank: int
    """Id of the token that means "nothing here"."""


def read_vocabulary(path: Path) -> Vocabulary:
    """Read `tokens.txt` or `vocab.txt`. Raises `ModelBroken`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [line.rstrip("\r").rsplit(" ", 1) for line in lines if line.strip()]
        pieces = {int(number): piece for piece, number in rows}
    except (OSError, ValueError) as error:
        raise ModelBroken(f"{path.name} cannot be read: {error}") from error
    if sorted(pieces) != list(range(len(rows))):
        raise ModelBroken(f"{path.name} does not number its {len(rows)} tokens from 0.")
    blank = next((number for number, piece in pieces.items() if piece in ("<blk>", "<blank>")), None)
    if blank is None:
        raise ModelBroken(f"{path.name} has no <blk> token: this is not a transducer's.")
    return Vocabulary(tuple(_text(pieces[number]) for number in range(len(pieces))), blank)


def _text(piece: str) -> str | None:
    return None if _MARK.fullmatch(piece) else piece.replace("▁", " ")
