"""Which names and words a caller expects, from what the caller sent."""

import re
from collections.abc import Iterator
from itertools import chain

from stt_server.types import Options

MOST_TERMS = 200
"""What comes after is left out: time grows with them, and in a list of everything something sounds like any word."""
LONGEST_TERM = 60
"""Characters; a longer one is left out."""
_LONGEST_ITEM = 3
"""Words. A part between commas that is longer makes the line running text."""

_ENDS = re.compile(r"(?<=[.?!…:])\s+")
_LABEL = re.compile(r"^[^,;:]{1,40}:\s+")
"""`Names: ` before a list."""
_WORD = re.compile(r"\w[\w'’&-]*\w")
_ELIDED = re.compile(r"^(?:[^\W\d_]|qu)['’](?=\w{3})", re.IGNORECASE)
"""French `l'`, `d'`, `qu'`; `O'Brien` loses nothing by it: see `_names`."""
_POSSESSIVE = re.compile(r"['’]s$")


def expected(options: Options) -> tuple[str, ...]:
    """The terms, each once. Keyterms are terms whatever they are; of the prompt, what reads like one."""
    texts = (" ".join(text.split()) for text in chain(options.keyterms, _prompted(options.prompt or "")))
    once = dict.fromkeys(text for text in texts if text and len(text) <= LONGEST_TERM)
    return tuple(once)[:MOST_TERMS]


def _prompted(prompt: str) -> Iterator[str]:
    """The items of lists, and of running text the words that look like names."""
    for line in prompt.splitlines():
        items = [item.strip(" .-*•\t") for item in re.split("[,;•|]", _LABEL.sub("", line))]
        items = [item for item in items if item]
        listed = _are_terms(items)
        if listed:
            yield from items
        if not listed or len(items) == 1:  # a line of its own may be a term or a few words around one
            yield from _names(line)


def _are_terms(items: list[str]) -> bool:
    """Whether they are the items of a list, one item a line or several: short, and no sentence ends in them."""
    return all(len(item.split()) <= _LONGEST_ITEM and not _ENDS.search(item) for item in items)


def _names(text: str) -> Iterator[str]:
    """Words with a capital within a sentence, or with a capital or digit within the word."""
    for sentence in _ENDS.split(text):
        for position, found in enumerate(_WORD.findall(sentence)):
            word = _POSSESSIVE.sub("", found)
            bare = _ELIDED.sub("", word) if word[0].islower() or not position else word
            if _looks_special(bare) or (bare[0].isupper() and (position or bare != word)):
                yield bare


def _looks_special(word: str) -> bool:
    """`McKinsey`, `IBM`, `3CX`, `v2`; not `42`."""
    return any(c.isupper() for c in word[1:]) or (not word.isdecimal() and any(c.isdecimal() for c in word))
