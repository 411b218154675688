"""What happens to models that are not whole, not Parakeets, or not one model."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_server.errors import ModelBroken
from stt_server.speech.engines import load
from tests.assets import ASSETS, TINY_MODEL, needs_assets, needs_model
from tests.speech.engines import models

pytestmark = needs_model

FIXTURES = ASSETS / "models" / "corrupt-fixtures"

LOADER = """
import json, sys
from pathlib import Path
from stt_server.errors import ModelBroken
from stt_server.speech.engines import load
for line in sys.stdin:
    try:
        load(Path(line.strip()), threads=1)
        outcome = "loaded"
    except ModelBroken as error:
        outcome = f"ModelBroken: {error.message}"
    print(json.dumps(outcome), flush=True)
"""


def load_elsewhere(*folders: Path) -> tuple[list[str], str]:
    """Load models in a child process; what came of each, and what the child wrote besides."""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADER],
        input="\n".join(map(str, folders)),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in child.stdout.splitlines()], child.stderr


def refused(folder: Path) -> str:
    """Why the model in the folder is refused."""
    with pytest.raises(ModelBroken) as refusal:
        load(folder, threads=1)
    return refusal.value.message


@needs_assets
def test_wrong_graphs_are_refused_quietly(tmp_path: Path) -> None:
    """A damaged file or another model's, in any place, is refused by name; the process lives and writes nothing."""
    cases = []
    for fixture in sorted(FIXTURES.glob("*.onnx")):
        for part in ("encoder", "decoder", "joiner"):
            folder = models.copy_tiny(tmp_path / f"{part}-{fixture.stem}")
            shutil.copyfile(fixture, folder / f"{part}.int8.onnx")
            cases.append((part, folder))
    outcomes, noise = load_elsewhere(*(folder for _, folder in cases), TINY_MODEL)
    assert len(cases) >= 15
    assert outcomes.pop() == "loaded"
    for (part, folder), outcome in zip(cases, outcomes, strict=True):
        assert outcome.startswith("ModelBroken: "), folder.name
        assert f"{part}.int8.onnx" in outcome
    assert noise == ""


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
@pytest.mark.parametrize("part", ["encoder", "decoder", "joiner"])
def test_a_truncated_graph_is_refused(tmp_path: Path, part: str, size: int) -> None:
    """A download that broke off is refused by name."""
    folder = models.copy_tiny(tmp_path)
    os.truncate(folder / f"{part}.int8.onnx", size)
    assert f"{part}.int8.onnx cannot be loaded" in refused(folder)


def test_parts_in_each_others_place_are_refused(tmp_path: Path) -> None:
    """Two files with their names exchanged are refused."""
    folder = models.copy_tiny(tmp_path)
    shutil.copyfile(TINY_MODEL / "joiner.int8.onnx", folder / "decoder.int8.onnx")
    assert "decoder.int8.onnx is not this part of a Parakeet model" in refused(folder)


@pytest.mark.parametrize("name", ["encoder.int8.onnx", "decoder.int8.onnx", "joiner.int8.onnx", "tokens.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """A model with a file missing is refused, and told apart from no model at all."""
    folder = models.copy_tiny(tmp_path)
    (folder / name).unlink()
    assert refused(folder).endswith(f"incomplete: {name} missing.")


@pytest.mark.parametrize("name", ["encoder-model.int8.onnx", "decoder_joint-model.int8.onnx", "vocab.txt"])
def test_a_missing_file_is_named_in_the_other_layout(tmp_path: Path, onnx_asr_folder: Path, name: str) -> None:
    """The same for onnx-asr's layout."""
    folder = shutil.copytree(onnx_asr_folder, tmp_path / "model")
    (folder / name).unlink()
    assert refused(folder).endswith(f"incomplete: {name} missing.")


def test_a_folder_without_a_model_is_said_to_be_one(tmp_path: Path) -> None:
    """An empty folder, and one that does not exist, hold no model."""
    assert "holds no Parakeet model" in refused(tmp_path)
    assert "holds no Parakeet model" in refused(tmp_path / "nowhere")


def test_float32_files_are_taken_where_there_are_no_int8_ones(tmp_path: Path) -> None:
    """The larger files' names are known too."""
    folder = models.copy_tiny(tmp_path)
    for part in ("encoder", "decoder", "joiner"):
        (folder / f"{part}.int8.onnx").rename(folder / f"{part}.onnx")
    assert load(folder, threads=1)


def test_a_plain_transducer_is_refused(tmp_path: Path) -> None:
    """A model whose joint guesses no durations is no TDT."""
    assert "not a TDT model" in refused(models.without_durations(tmp_path))


def _one_token_less(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-2], f"<blk> {len(lines) - 2}", ""]))


def _no_blank(path: Path) -> None:
    path.write_text(path.read_text().replace("<blk>", "blk"))


def _twice(path: Path) -> None:
    path.write_text(path.read_text() * 2)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_one_token_less, "the files do not belong together"),
        (_no_blank, "no <blk> token"),
        (_twice, "does not number its 1538 tokens"),
        (lambda path: path.write_text(""), "no <blk> token"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00 0\n"), "cannot be read"),
        (lambda path: path.write_text("▁a zero\n"), "cannot be read"),
    ],
)
def test_a_wrong_tokens_file_is_refused(tmp_path: Path, spoil: Callable[[Path], object], complaint: str) -> None:
    """A tokens file of another model would yield fluent nonsense: it is refused."""
    folder = models.copy_tiny(tmp_path)
    spoil(folder / "tokens.txt")
    found = refused(folder)
    assert "tokens.txt" in found
    assert complaint in found


@pytest.mark.parametrize("config", ["", "{", "[1, 2]", "3"])
def test_a_damaged_config_is_refused(tmp_path: Path, onnx_asr_folder: Path, config: str) -> None:
    """onnx-asr's config.json is either read or complained about."""
    folder = shutil.copytree(onnx_asr_folder, tmp_path / "model")
    (folder / "config.json").write_text(config)
    assert refused(folder).startswith("config.json cannot be read")


def test_a_config_is_not_needed(tmp_path: Path, onnx_asr_folder: Path) -> None:
    """The graphs say enough by themselves."""
    folder = shutil.copytree(onnx_asr_folder, tmp_path / "model")
    (folder / "config.json").unlink()
    assert load(folder, threads=1)


def test_another_normalisation_is_refused(tmp_path: Path) -> None:
    """A model that wants its features normalised in another way says so, and is not fed with ours."""
    assert "'all_features'" in refused(models.with_metadata(tmp_path, normalize_type="all_features"))


def test_a_model_may_name_its_languages(tmp_path: Path) -> None:
    """The encoder's metadata has the last word."""
    assert load(models.with_metadata(tmp_path, languages="en,fr"), threads=1).capabilities.languages == ("en", "fr")


def test_naming_the_protocol_does_not_start_the_engine() -> None:
    """The process that answers imports the protocol and not onnxruntime, nor numpy's slow friends."""
    code = "import sys, stt_server.speech.engines; print('onnxruntime' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "False"
