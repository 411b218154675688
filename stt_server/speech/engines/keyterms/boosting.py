"""The search when terms are expected: one that is likely enough takes the place of what was heard.

First comes the search as it is without terms. Then, from left to right, its words are compared with the terms. Where
one is alike, the search goes back to the word's beginning and is led along the term. The term stays if the model holds
it for nearly as likely as what was heard in the same frames, and the search goes on behind it. So a term that was not
said finds no place to get in, whatever its neighbours.
"""

from itertools import accumulate, pairwise

from stt_server.speech.engines.features import Float32
from stt_server.speech.engines.keyterms.branches import Branch, Stretch, Window, Writing, best_branch
from stt_server.speech.engines.keyterms.lexicon import Lexicon
from stt_server.speech.engines.keyterms.spelling import Term, letters_of
from stt_server.speech.engines.tdt import Emission, Point, Step, Transducer

_MOST_WORDS = 3
"""Heard in place of one term."""
_SENTENCE_ENDS = (".", "?", "!", "…")
_JOINTS = ("'", "’", "-")
"""After which a word begins without a space."""


def search_for(encoded: Float32, transducer: Transducer, writing: Writing, terms: Lexicon) -> list[Emission]:
    """What a window says, given its encoder output (frames, width), where these terms are expected."""
    window = Window(encoded, transducer, writing)
    steps = window.walk(Point(0, transducer.start()))
    word = 0
    while word < len(steps):
        if not _begins_word(steps, word, writing):
            word += 1
            continue
        words = _words(steps[word:], writing)
        if (known := _known(words, writing, terms)) is not None:
            term, said = known
            if _may_write(term, _text(said, writing), begins_sentence=_begins_sentence(steps[:word], writing)):
                _write(term, said, writing)
            word = steps.index(said[-1], word) + 1
        elif (branch := _likeliest(window, steps, word, words, terms)) is not None:
            first = _after_last_word(steps, word, writing) + branch.way.kept
            steps[first:] = [*branch.way.steps, *window.walk(branch.way.point)]
            word = first + branch.spoken
            _write(branch.term, [step for step in steps[first:word] if step.token != writing.blank], writing)
        else:
            word += 1
    return [step.emission() for step in steps if step.token != writing.blank]


def _likeliest(window: Window, steps: list[Step], word: int, words: list[list[Step]], terms: Lexicon) -> Branch | None:
    """The term that takes the place of these words most likely, None where none may."""
    writing = window.writing
    likely = terms.alike([*accumulate(_text(word, writing) for word in words)])
    if not likely:
        return None
    first = _after_last_word(steps, word, writing)
    stretch = Stretch(steps[first:], word - first, writing, end=len(window.encoded))
    start = _start(steps[word], writing)
    branches = [best_branch(window, stretch, each, start=start) for each in likely]
    return max((branch for branch in branches if branch), key=lambda branch: branch.spare, default=None)


def _known(words: list[list[Step]], writing: Writing, terms: Lexicon) -> tuple[Term, list[Step]] | None:
    """The longest term that these words begin with, letter by letter, and the steps that say it."""
    texts = [*accumulate(_text(word, writing) for word in words)]
    for text, said in reversed([*zip(texts, accumulate(words), strict=True)]):
        if (term := terms.spelt(letters_of(text))) is not None:
            last = max(i for i, step in enumerate(said) if letters_of(writing.text(step)))
            return term, said[: last + 1]  # without the punctuation behind it
    return None


def _may_write(term: Term, heard: str, *, begins_sentence: bool) -> bool:
    """Whether a word with a term's letters may be written like the term: `us` is not `US`, `marche` not `Marché`.

    A capital within a sentence says that the model took the word for a name. No ordinary word is like `McGregor`.
    """
    inner_capital = any(before.islower() and letter.isupper() for before, letter in pairwise(term.text))
    return inner_capital or (term.text[0].isupper() and heard.strip()[0].isupper() and not begins_sentence)


def _write(term: Term, said: list[Step], writing: Writing) -> None:
    """Let these steps write the term as the caller does; but a sentence keeps its capital."""
    places = term.spelt([step.token for step in said], start=_start(said[0], writing))
    if places is None:
        return
    begins_with_capital = _text(said, writing).strip()[0].isupper()
    for step, text in zip(said, term.written(places), strict=True):
        capital = begins_with_capital and term.text.islower() and text.strip()
        step.text = text.replace(text.strip()[0], text.strip()[0].upper(), 1) if capital else text
        begins_with_capital = begins_with_capital and not text.strip()


# -- Words among the steps -------------------------------------------------------------------------


def _text(steps: list[Step], writing: Writing) -> str:
    return "".join(writing.text(step) for step in steps)


def _words(steps: list[Step], writing: Writing) -> list[list[Step]]:
    """What the first words say, each with the punctuation that touches it."""
    words: list[list[Step]] = []
    for step in steps:
        text = writing.text(step)
        if not words or (text.startswith(" ") and _text(words[-1], writing).strip()):
            if len(words) == _MOST_WORDS:
                break
            words.append([])
        if text:
            words[-1].append(step)
    return words


def _begins_word(steps: list[Step], index: int, writing: Writing) -> bool:
    text = writing.text(steps[index])
    return text.startswith(" ") or (text[:1].isalnum() and _last_text(steps[:index], writing).endswith(_JOINTS))


def _begins_sentence(before: list[Step], writing: Writing) -> bool:
    last = _last_text(before, writing)
    return not last or last.endswith(_SENTENCE_ENDS)


def _last_text(steps: list[Step], writing: Writing) -> str:
    return next((text for step in reversed(steps) if (text := writing.text(step))), "")


def _after_last_word(steps: list[Step], word: int, writing: Writing) -> int:
    """The first step after whatever was said before a word."""
    return next((i + 1 for i in range(word - 1, -1, -1) if steps[i].token != writing.blank), 0)


def _start(step: Step, writing: Writing) -> int:
    """The place in a term at which it begins here: its space is only said after another word."""
    return 0 if writing.text(step).startswith(" ") else 1
