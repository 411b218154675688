"""The families that sherpa-onnx runs: which files they are known by, what is refused before it can do harm."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from stt_server.errors import EngineFailed, ModelBroken
from stt_server.speech.engines import load
from stt_server.speech.engines.families import find_family
from stt_server.speech.engines.fit import read_symbols
from stt_server.speech.engines.sherpa import rehearse
from stt_server.types import Audio, Options
from tests.assets import ASSETS, TINY_MODEL, needs_assets
from tests.speech.engines import families
from tests.speech.engines.families import FAMILIES, tones

NETWORKS = [
    (name, file)
    for name, files in {
        "whisper": ("tiny-encoder.int8.onnx", "tiny-decoder.int8.onnx"),
        "zipformer": (
            "encoder-epoch-99-avg-1.int8.onnx",
            "decoder-epoch-99-avg-1.onnx",
            "joiner-epoch-99-avg-1.int8.onnx",
        ),
        "moonshine": ("preprocess.onnx", "encode.int8.onnx", "uncached_decode.int8.onnx", "cached_decode.int8.onnx"),
        "nemo ctc": ("model.int8.onnx",),
    }.items()
    for file in files
]


@contextmanager
def refused(match: str) -> Iterator[None]:
    """Refused in our words, the process still there."""
    with pytest.raises(ModelBroken, match=match):
        yield


def heard(folder: Path, said: str, language: str | None = None) -> str:
    (found,) = load(folder, threads=1).recognise([Audio(tones(said))], Options("m", language=language))
    return " ".join(word.text for word in found.words)


# -- What it can be told ----------------------------------------------------------------------------


def test_whisper_hears_the_language_or_is_told(tmp_path: Path) -> None:
    """Told, it writes that language; not told, or told one it has not, it finds out, and says which."""
    engine = load(families.whisper(tmp_path), threads=1)
    assert engine.capabilities.languages == ("en", "fr")
    for told, said, expected in (
        (None, "low high", ("en", "low high")),
        (None, "high low", ("fr", "aigu grave")),
        ("fr", "low high", ("fr", "grave aigu")),
        ("en", "high low", ("en", "high low")),
        ("tlh", "high low", ("fr", "aigu grave")),
    ):
        (found,) = engine.recognise([Audio(tones(said))], Options("m", language=told))
        assert (found.language, " ".join(word.text for word in found.words)) == expected


def test_whisper_keeps_the_languages_of_its_callers_apart(tmp_path: Path) -> None:
    """Calls at once that want different languages each get theirs."""
    engine = load(families.whisper(tmp_path), threads=1)

    def ask(told: str) -> str:
        return engine.recognise([Audio(tones("low"))], Options("m", language=told))[0].words[0].text

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, ["en", "fr"] * 50)) == ["low", "grave"] * 50


def test_an_english_whisper_is_not_told_anything(tmp_path: Path) -> None:
    """It knows one language, whatever is asked for."""
    folder = families.whisper(tmp_path, multilingual=False)
    assert load(folder, threads=1).capabilities.languages == ("en",)
    assert heard(folder, "high low", language="fr") == "high low"


def test_whisper_refuses_what_it_would_cut_off(tmp_path: Path) -> None:
    """More than it can hear at once fails, so that it is tried in halves, and nothing is lost silently."""
    engine = load(families.whisper(tmp_path), threads=1)
    long = np.resize(tones("low"), 30 * 16_000)
    assert engine.recognise([Audio(long[: 29 * 16_000])], Options("m"))[0].words
    with pytest.raises(EngineFailed):
        engine.recognise([Audio(long)], Options("m"))


def test_words_begin_with_their_tones(tmp_path: Path) -> None:
    """Where a family tells times, they are those of the sound."""
    for name in ("zipformer", "nemo ctc"):
        engine = load(FAMILIES[name](tmp_path / name), threads=1)
        (found,) = engine.recognise([Audio(tones("low high _ low"), 100.0)], Options("m"))
        assert [word.start for word in found.words] == pytest.approx([100.6, 101.6, 103.6], abs=0.1)
        assert all(0 < word.end - word.start < 0.4 for word in found.words)


@pytest.mark.parametrize("name", FAMILIES)
def test_silence_has_no_words(tmp_path: Path, name: str) -> None:
    """Nothing is made up that the model has not said."""
    assert heard(FAMILIES[name](tmp_path), "_ _") == ""


def test_tokens_may_be_odd(tmp_path: Path) -> None:
    """Spaces of other scripts are symbols, a number alone stands for the space, and lines may end as on Windows."""
    path = tmp_path / "tokens.txt"
    path.write_bytes("\u2581a 0\r\n\u2028 1\n\u3000 2\n 3\n\n\u00e9\t4\n".encode())
    assert read_symbols(path) == {0: "\u2581a", 1: "\u2028", 2: "\u3000", 3: " ", 4: "é"}


# -- Which files ------------------------------------------------------------------------------------


def test_int8_is_preferred(tmp_path: Path) -> None:
    """Where both are there, as in the published archives, the smaller is taken."""
    folder = families.zipformer(tmp_path)
    joiner = folder / "joiner-epoch-99-avg-1.int8.onnx"
    shutil.copyfile(joiner, folder / "joiner-epoch-99-avg-1.onnx")
    found = find_family(folder)
    assert found is not None
    assert found.files["joiner"] == joiner
    joiner.unlink()
    found = find_family(folder)
    assert found is not None
    assert found.files["joiner"].name == "joiner-epoch-99-avg-1.onnx"
    assert heard(folder, "low high") == "low high"


def test_a_zipformer_may_have_parakeets_file_names(tmp_path: Path) -> None:
    """`encoder.onnx` and its kin are told apart by what the encoder calls itself."""
    folder = families.zipformer(tmp_path)
    for path in list(folder.glob("*.onnx")):
        path.rename(folder / path.name.replace("-epoch-99-avg-1", ""))
    assert heard(folder, "low high") == "low high"
    assert find_family(TINY_MODEL) is None


def test_of_two_models_none_is_guessed(tmp_path: Path) -> None:
    """A folder with two sizes of Whisper says so."""
    families.whisper(tmp_path)
    families.whisper(tmp_path, multilingual=False)
    with refused(r"several models \(tiny, tiny.en\)"):
        load(tmp_path, threads=1)


def test_names_tell_what_it_is(tmp_path: Path) -> None:
    """A Whisper is called by its size; another by its folder, unless that says something else."""
    names = {}
    for name, folder in (
        ("whisper", "parakeet"),
        ("zipformer", "sherpa-onnx-zipformer-en-2023-06-26"),
        ("zipformer", "parakeet"),
        ("moonshine", "models"),
        ("nemo ctc", "sherpa-onnx-nemo-fast-conformer-ctc-en-24500-int8"),
    ):
        found = find_family(FAMILIES[name](tmp_path / name / folder))
        assert found is not None
        names[name, folder] = found.name
    assert list(names.values()) == [
        "whisper-tiny",
        "sherpa-onnx-zipformer-en-2023-06-26",
        "zipformer",
        "moonshine",
        "sherpa-onnx-nemo-fast-conformer-ctc-en-24500-int8",
    ]


# -- What is refused, before it ends the process ------------------------------------------------------


@needs_assets
@pytest.mark.parametrize(("name", "file"), NETWORKS)
def test_networks_of_another_kind_are_refused(tmp_path: Path, name: str, file: str) -> None:
    """Valid and damaged files in the place of each network: the file is named, and the process goes on."""
    folder = FAMILIES[name](tmp_path)
    whole = (folder / file).read_bytes()
    for wrong in sorted((ASSETS / "models" / "corrupt-fixtures").glob("*.onnx")):
        shutil.copyfile(wrong, folder / file)
        with refused(file.replace(".", r"\.")):
            load(folder, threads=1)
    for damaged in (b"", whole[: len(whole) // 2], b"\xff" * 100, b"<html>"):
        (folder / file).write_bytes(damaged)
        with refused(file.replace(".", r"\.")):
            load(folder, threads=1)


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [
        *(("whisper", "tiny-encoder.int8.onnx", key) for key in ("n_mels", "n_text_ctx", "sot_sequence", "eot")),
        ("whisper", "tiny-encoder.int8.onnx", "all_language_codes"),
        ("zipformer", "decoder-epoch-99-avg-1.onnx", "vocab_size"),
        ("zipformer", "decoder-epoch-99-avg-1.onnx", "context_size"),
        *(("nemo ctc", "model.int8.onnx", key) for key in ("vocab_size", "subsampling_factor")),
    ],
)
def test_missing_metadata_are_named(tmp_path: Path, name: str, file: str, key: str) -> None:
    """Each of these ends the process of sherpa-onnx."""
    folder = FAMILIES[name](tmp_path)
    model = onnx.load(folder / file)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != key}
    del model.metadata_props[:]
    helper.set_model_props(model, kept)
    onnx.save(model, folder / file)
    with refused(file.replace(".", r"\.")):
        load(folder, threads=1)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda folder: families.nemo_ctc(folder, subsampling_factor=0), "does not say its subsampling_factor"),
        (lambda folder: families.whisper(folder, n_text_ctx=99999999999), "does not say its n_text_ctx"),
        (lambda folder: families.nemo_ctc(folder, model_type="sense_voice_ctc"), "calls itself 'sense_voice_ctc'"),
        (lambda folder: families.nemo_ctc(folder, normalize_type="all_features"), "normalised by 'all_features'"),
        (lambda folder: families.nemo_ctc(folder, vocab_size=9), "9 tokens and tokens.txt does not list number 3"),
        (lambda folder: families.zipformer(folder, model_type="EncDecRNNTBPEModel"), "EncDecRNNTBPEModel"),
    ],
)
def test_relatives_are_refused(tmp_path: Path, write: Callable[[Path], Path], what: str) -> None:
    """Models with the same file names, and parts of different models, are called what they are."""
    with refused(what):
        load(write(tmp_path), threads=1)


def test_a_streaming_zipformer_is_refused(tmp_path: Path) -> None:
    """Its encoder has its states among the inputs."""
    folder = families.zipformer(tmp_path)
    path = folder / "encoder-epoch-99-avg-1.int8.onnx"
    encoder = onnx.load(path)
    encoder.graph.input.append(helper.make_tensor_value_info("cached_len", onnx.TensorProto.INT64, [1]))
    onnx.save(encoder, path)
    with refused(r"inputs \(float int int\), not \(float int\)"):
        load(folder, threads=1)


@pytest.mark.parametrize(
    ("name", "file", "content", "what"),
    [
        ("whisper", "tiny-tokens.txt", "low! 0\n", "base64"),
        ("nemo ctc", "tokens.txt", "low 0\nhigh 1\n. 2\n", "<blk>"),
        ("zipformer", "tokens.txt", "<blk> 0\n", "number 1"),
        ("zipformer", "tokens.txt", "no number\n", "cannot be read"),
        ("nemo ctc", "tokens.txt", "low 0\nhigh 1\n<blk> 2\nmore 99999999999\n", "99999999999"),
        ("moonshine", "tokens.txt", "", "empty"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(tmp_path: Path, name: str, file: str, content: str, what: str) -> None:
    """The text file too is looked at."""
    folder = FAMILIES[name](tmp_path)
    (folder / file).write_text(content)
    with refused(what):
        load(folder, threads=1)


def test_a_network_that_does_not_run_is_refused(tmp_path: Path) -> None:
    """What fits by its outside and fails inside is found while it is loaded."""
    folder = families.nemo_ctc(tmp_path)
    model = onnx.load(folder / "model.int8.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64  # mel bands
    onnx.save(model, folder / "model.int8.onnx")
    with refused("does not run"):
        load(folder, threads=1)


def test_a_model_that_ends_the_process_is_found_out(tmp_path: Path) -> None:
    """What cannot be seen from outside ends another process than the one that asks."""
    for write, outcome in ((families.deadly, "ends the process"), (families.nemo_ctc, "")):
        found = find_family(write(tmp_path / write.__name__))
        assert found is not None
        if outcome:
            with refused(outcome):
                rehearse(found)
        else:
            rehearse(found)


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    """A model is there, what runs it is not: one sentence, not a traceback."""
    folder = families.moonshine(tmp_path)
    script = (
        "import sys; sys.modules['sherpa_onnx'] = None\n"
        "from pathlib import Path; from stt_server.speech.engines import load\n"
        "from stt_server.errors import ModelBroken\n"
        "try: load(Path(sys.argv[1]), threads=1)\n"
        "except ModelBroken as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert "Moonshine" in done.stdout
    assert "pip install 'stt-server[sherpa]'" in done.stdout


def test_the_package_is_imported_only_where_it_is_needed(tmp_path: Path) -> None:
    """Whoever runs Parakeet does not load it."""
    script = (
        "import sys; from pathlib import Path; from stt_server.speech.engines import load\n"
        "load(Path(sys.argv[1]), threads=1); print('sherpa_onnx' in sys.modules)"
    )
    for folder, expected in ((TINY_MODEL, "False"), (families.moonshine(tmp_path), "True")):
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
