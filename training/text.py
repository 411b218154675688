"""Sentences to targets: subword tokens for the transducer, letters for the auxiliary CTC loss."""

import argparse
from pathlib import Path

import sentencepiece

LETTERS = " abcdefghijklmnopqrstuvwxyz'àâäçéèêëîïôöùûüœ"
"""What the auxiliary loss spells: without case and punctuation, the hyphen as a space."""

_LETTER_IDS = {letter: number for number, letter in enumerate(LETTERS)}


def spell(text: str) -> list[int]:
    """Ids in `LETTERS`."""
    spaced = "".join(letter if letter in _LETTER_IDS else " " if letter == "-" else "" for letter in text.lower())
    return [_LETTER_IDS[letter] for letter in " ".join(spaced.split())]


def train_tokenizer(sentences: list[str], tokens: int, path: Path) -> None:
    """Learn a byte-pair encoding of the sentences, cased and punctuated, and write it to `path`."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(path.with_suffix("")),
        vocab_size=tokens,
        model_type="bpe",
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )


class Tokenizer:
    """Text to subword ids and back."""

    def __init__(self, path: Path) -> None:
        self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def __len__(self) -> int:
        return int(self._model.get_piece_size())

    @property
    def pieces(self) -> list[str]:
        """By id, as `tokens.txt` has them."""
        return [self._model.id_to_piece(number) for number in range(len(self))]

    def encode(self, text: str) -> list[int]:
        """Its tokens."""
        return list(self._model.encode(text))

    def decode(self, tokens: list[int]) -> str:
        """Their text."""
        return str(self._model.decode(tokens))


def main() -> None:
    """Learn the tokens of `WORK/train.tsv`."""
    parser = argparse.ArgumentParser(description="Sentences to `WORK/tokens.model`.")
    parser.add_argument("work", type=Path)
    parser.add_argument("--tokens", type=int, default=768)
    given = parser.parse_args()
    lines = (given.work / "train.tsv").read_text(encoding="utf-8").splitlines()
    train_tokenizer([line.split("\t")[1] for line in lines], given.tokens, given.work / "tokens.model")


if __name__ == "__main__":
    main()
