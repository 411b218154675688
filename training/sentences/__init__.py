"""Sentences to be spoken, English and French, from grammars of our own.

The text is as a recogniser should write it: cased, with `. , ? !`, numbers in words.
"""

import re
from collections.abc import Callable, Iterator
from random import Random

from training.sentences.english import English
from training.sentences.french import French

ALPHABET = re.compile(r"[a-zA-ZàâäçéèêëîïôöùûüœÀÂÄÇÉÈÊËÎÏÔÖÙÛÜŒ.,?!' -]+")
MOST_WORDS = 25
PATIENCE = 500
"""So many repeats one after the other mean that the grammar has nothing new to say."""
LANGUAGES: dict[str, Callable[[Random], English | French]] = {"en": English, "fr": French}


def generate(language: str, seed: int) -> Iterator[str]:
    """Sentences without end, the same for the same seed, without repeats as far as possible."""
    grammar = LANGUAGES[language](Random(f"{language} {seed}"))  # noqa: S311  # no secret
    said: set[str] = set()
    repeats = 0
    while True:
        sentence = grammar.sentence()
        if len(sentence.split()) > MOST_WORDS or (sentence in said and repeats < PATIENCE):
            repeats += 1
            continue
        repeats = 0
        said.add(sentence)
        yield sentence


def corpus(language: str, count: int, seed: int) -> list[str]:
    """So many sentences, all different."""
    found: dict[str, None] = {}
    for sentence in generate(language, seed):
        if len(found) == count:
            break
        found[sentence] = None
    return list(found)
