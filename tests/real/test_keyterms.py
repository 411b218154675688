"""Expected terms with the model that comes with the program, over real networks."""

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from stt_server.speech.audio import decode
from stt_server.speech.engines import Engine, load
from stt_server.speech.engines.features import Float32
from stt_server.speech.engines.keyterms.spelling import letters_of
from stt_server.speech.models import EMBEDDED
from stt_server.types import Audio, Hypothesis, Options

SAMPLES = Path(__file__).parents[2] / "samples"
CLIPS = sorted(SAMPLES.glob("*.wav"))
_NAMES = """
    Amoxicillin Paracetamol Ibuprofen Metformin Atorvastatin Omeprazole Lisinopril Amlodipine Simvastatin
    Levothyroxine Azithromycin Gabapentin Sertraline Prednisone Tamsulosin Pantoprazole Escitalopram Montelukast
    Kubernetes Terraform PostgreSQL Grafana Ansible Prometheus Elasticsearch Cloudflare Asterisk Wireshark Jenkins
    McKinsey McGregor Zuckerberg Nakamura Szymanski Papadopoulos Kowalski Nguyen Okonkwo Ramirez Fernandez Schneider
    Beaumont Lefèvre Deschamps Rousseau Guérin Chevalier Fontaine Carpentier Delacroix Montpellier Carcassonne
    Perpignan Besançon Strasbourg Grenoble Angoulême Neuchâtel Fribourg Lausanne Saskatchewan Philadelphia
    Pennsylvania Massachusetts Connecticut Vancouver Melbourne Brisbane Johannesburg Winchester Salisbury Kensington
    Gloucester Worcester Shrewsbury Canterbury Huddersfield Hammersmith Wimbledon Cunningham Henderson Whitfield
    Tyrannosaurus Velociraptor Photosynthesis Mitochondria Chromosome Haemoglobin Lymphocyte Referendum Ambassador
    Constitution Arbitration Injunction Jurisdiction Barrister Solicitor Magistrate Endoplasmic Ribosome Thrombocyte
"""
IRRELEVANT = _NAMES.split()
"""None is said in a sample."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load(EMBEDDED, threads=1)


@cache
def sound(clip: Path) -> Float32:
    blocks = list(decode(clip, "wav", max_duration=60))
    return np.concatenate(blocks).astype(np.float32) / np.float32(32_768)


def hear(engine: Engine, samples: Float32, *terms: str) -> Hypothesis:
    (found,) = engine.recognise([Audio(samples)], Options("m", keyterms=terms))
    return found


def text(hypothesis: Hypothesis) -> str:
    return " ".join(word.text for word in hypothesis.words)


def test_a_hundred_irrelevant_terms_change_nothing(engine: Engine) -> None:
    """Not a token of any sample, nor of silence and noise."""
    assert len(IRRELEVANT) >= 100
    noise = np.random.default_rng(0).normal(0, 0.05, 48_000).astype(np.float32)
    for samples in [*map(sound, CLIPS), noise, np.zeros(48_000, np.float32)]:
        assert hear(engine, samples, *IRRELEVANT) == hear(engine, samples)


def misheard(engine: Engine) -> Iterator[tuple[Float32, str, str]]:
    """Samples under more and more noise, what is heard of them, and a long word that is missing from it."""
    for level in range(1, 20):
        for clip in CLIPS:
            said = clip.with_suffix(".txt").read_text(encoding="utf-8").split()
            words = {word for part in said if len(word := part.split("'")[-1].strip(".,?!")) >= 5}
            noise = np.random.default_rng(level).normal(0, 0.003 * level, len(sound(clip)))
            samples = (sound(clip) + noise).astype(np.float32)
            heard = text(hear(engine, samples))
            yield from ((samples, heard, word) for word in sorted(words) if letters_of(word) not in letters_of(heard))


def test_misheard_words_are_found_when_they_are_expected(engine: Engine) -> None:
    """Of the words that noise takes away, some come back when they are expected, among a hundred that are not said.

    Which words those are depends on the model. A quarter is usual on clean speech.
    """
    missing = list(islice(misheard(engine), 30))
    found = [word for samples, _, word in missing if word in text(hear(engine, samples, word, *IRRELEVANT[:99]))]
    assert len(missing) >= 10
    assert len(found) >= 2


def test_tokens_spell_the_words_with_terms_too(engine: Engine) -> None:
    """Pieces, words, times and confidences of a term that was put in belong together."""
    for samples, heard, word in islice(misheard(engine), 15):
        found = hear(engine, samples, word)
        assert "".join(token.text for token in found.tokens).strip() == text(found)
        assert [token.start for token in found.tokens] == sorted(token.start for token in found.tokens)
        assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in found.words)
        assert text(found) or not heard
