"""Words into segments: sentences, cut where nobody speaks and where they grow too long."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise

from stt_server.speech.sentences import ends_sentence
from stt_server.types import Segment, Token, Word

PAUSE = 1.0
"""A silence this long ends a segment. Word ends come up to 0.3 s early in drawn-out words, because a TDT token
cannot last longer than 0.32 s, so a shorter limit would cut into hesitations."""
MAX_SECONDS = 15.0
MAX_CHARACTERS = 200


def segment(words: Sequence[Word], tokens: Sequence[Token]) -> tuple[Segment, ...]:
    """All the words and all the tokens, in order, as segments.

    The texts of the segments, joined by single spaces, are the words joined by single spaces. Words of which only a
    common stretch of time is known make one segment of that stretch, which then has no words.
    """
    runs = [run for stretch in _stretches(words) for run in (_divided(stretch) if stretch[0].exact else [stretch])]
    shares = iter(_share(tokens, [run for run in runs if run[0].exact]))
    return tuple(
        Segment(
            text=" ".join(word.text for word in run),
            start=run[0].start,
            end=max(word.end for word in run),
            words=tuple(run) if run[0].exact else (),
            tokens=tuple(next(shares)) if run[0].exact else (),
            speaker=run[0].speaker,
        )
        for run in runs
    )


def _stretches(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Words in order, parted where those of one common place begin and end."""
    for _, stretch in groupby(words, key=lambda word: None if word.exact else (word.start, word.end)):
        yield list(stretch)


def _divided(words: Sequence[Word]) -> list[Sequence[Word]]:
    return [run for sentence in _sentences(words) for run in pieces(sentence, _is_short)]


def pieces(words: Sequence[Word], fits: Callable[[Sequence[Word]], bool]) -> Iterator[Sequence[Word]]:
    """The words in runs that fit, or of one word; each run ends at the best comma or pause within reach.

    `fits` must hold for the beginning of every run for which it holds.
    """
    start = 0
    while start < len(words):
        end = start + 1
        while end < len(words) and fits(words[start : end + 1]):
            end += 1
        if end < len(words):
            end = _best_cut(words, start, end)
        yield words[start:end]
        start = end


def _best_cut(words: Sequence[Word], start: int, furthest: int) -> int:
    """Where to end the run that begins at `start`: not before half of what would fit."""
    reach = furthest - start
    ideal = min(furthest, (start + len(words) + 1) // 2)  # two halves rather than a lonely last word

    def merit(end: int) -> float:
        pause = words[end].start - words[end - 1].end
        return _weight(words, end - 1) + min(max(pause, 0.0), 1.0) - abs(end - ideal) / reach

    return max(range(start + max(1, reach // 2), furthest + 1), key=merit)


def _weight(words: Sequence[Word], i: int) -> float:
    """How good it is to stop after word `i`, which is not the last one; a pause of so many seconds is as good."""
    text = words[i].text
    if ends_sentence(words, i):
        return 1.0
    if text.endswith((",", ";", ":")):
        return 0.6
    return -0.2 if len(text) <= 3 else 0.0  # mostly articles and prepositions, which lean on what follows


def _is_short(words: Sequence[Word]) -> bool:
    characters = sum(len(word.text) + 1 for word in words) - 1
    return words[-1].end - words[0].start <= MAX_SECONDS and characters <= MAX_CHARACTERS


def _sentences(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    start = 0
    for i in range(len(words) - 1):
        if _parts(words, i):
            yield words[start : i + 1]
            start = i + 1
    if words:
        yield words[start:]


def _parts(words: Sequence[Word], i: int) -> bool:
    """Whether word `i` and the next belong to different segments in any case."""
    word, following = words[i], words[i + 1]
    silent = following.start - word.end >= PAUSE
    return silent or word.speaker != following.speaker or ends_sentence(words, i)


def _share(tokens: Sequence[Token], runs: Sequence[Sequence[Word]]) -> list[Sequence[Token]]:
    """Each run's tokens: those its words are made of."""
    if not runs:
        return []
    begins = [i for i, token in enumerate(tokens) if i == 0 or token.text.startswith(" ")]
    ends = list(accumulate(map(len, runs)))
    if len(begins) == ends[-1]:
        cuts = [begins[end] for end in ends[:-1]]
    else:  # tokens that do not spell the words: by time, which is unsure where two begin in one frame
        times = [token.start for token in tokens]
        cuts = list(accumulate((bisect_left(times, run[0].start - 1e-6) for run in runs[1:]), max))
    return [tokens[start:end] for start, end in pairwise([0, *cuts, len(tokens)])]
