"""What is found in a folder, what is believed of it, and what is refused."""

import hashlib
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stt_server.errors import ModelBroken
from stt_server.speech.catalogue import DEFAULT_MODEL, MODELS, Archive, Files, Model, ModelFile
from stt_server.speech.models import ALIASES, CHECKSUMS, EMBEDDED, find_model, verify
from tests.assets import TINY_MODEL, needs_model

SHERPA = {"encoder.int8.onnx": b"enc", "decoder.int8.onnx": b"dec", "joiner.int8.onnx": b"join", "tokens.txt": b"a 0\n"}
ONNX_ASR = {
    "encoder-model.int8.onnx": b"encoder",
    "decoder_joint-model.int8.onnx": b"decoder",
    "vocab.txt": b"a 0\n",
    "config.json": b"{}",
}


def folder_of(path: Path, contents: dict[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (path / name).write_bytes(content)
    return path


def row(name: str, contents: dict[str, bytes]) -> Model:
    files = tuple(ModelFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    return replace(MODELS[DEFAULT_MODEL], name=name, id=f"{name}-id", files=files, owned_by="nvidia")


TABLE = {
    "one": row("one", SHERPA),
    "two": row("two", {**SHERPA, "encoder.int8.onnx": b"other"}),
    "three": row("three", ONNX_ASR),
}


def write_checksums(folder: Path, *names: str) -> None:
    lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (folder / CHECKSUMS).write_text("".join(lines))


# -- The table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_row_is_complete(model: Model) -> None:
    """Every row has whole checksums, pinned sources, a licence and the credit it asks for."""
    for file in model.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size > 0
    assert model.sources
    for source in model.sources:
        if isinstance(source, Files):
            assert re.search(r"/resolve/[0-9a-f]{40}$", source.base)
        elif isinstance(source, Archive):
            assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
    assert "NVIDIA" in model.credit
    assert model.licence in model.credit
    assert len({file.sha256 for file in model.files}) == len(model.files)


def test_rows_differ_in_their_largest_file() -> None:
    """The encoder alone tells the models apart, so that sizes are enough to name one before it is hashed."""
    encoders = [model.files[0] for model in MODELS.values()]
    assert len({(file.name, file.size) for file in encoders}) == len(MODELS)


# -- Finding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("contents", [SHERPA, ONNX_ASR], ids=["sherpa", "onnx-asr"])
def test_both_layouts_are_found(tmp_path: Path, contents: dict[str, bytes]) -> None:
    """A folder in either public layout is a model."""
    found = find_model(folder_of(tmp_path / "m", contents), models=TABLE)
    assert set(found.files) == set(contents) - {"config.json"}
    assert not found.embedded


def test_a_model_in_the_only_folder_is_found(tmp_path: Path) -> None:
    """An unpacked archive, with its folder, is as good as its files."""
    folder_of(tmp_path / "sherpa-onnx-some-model", SHERPA)
    assert find_model(tmp_path).folder == (tmp_path / "sherpa-onnx-some-model").resolve()
    folder_of(tmp_path, ONNX_ASR)
    assert find_model(tmp_path).folder == tmp_path.resolve()


@pytest.mark.parametrize("path", ["absent", "empty", "hidden"])
def test_an_absent_or_empty_folder_means_the_embedded_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Without a downloaded model the server still answers, and says with what."""
    (tmp_path / "empty" / "lost+found").mkdir(parents=True)
    (tmp_path / "hidden" / ".part").mkdir(parents=True)

    found = find_model(tmp_path / path, embedded=folder_of(tmp_path / "e", SHERPA))

    assert (found.embedded, found.name, found.owned_by) == (True, "parakeet-tdt-embedded", "stt-server")
    assert "embedded one is used" in caplog.text


def test_no_model_anywhere_says_what_to_do(tmp_path: Path) -> None:
    """Somebody who has no model reads how to get one."""
    with pytest.raises(ModelBroken, match=r"stt-server download.*MODEL_PATH"):
        find_model(tmp_path / "absent", embedded=tmp_path / "absent too")


def test_half_a_model_is_refused(tmp_path: Path) -> None:
    """A folder that somebody filled is never passed over in silence: what it lacks is named."""
    folder = folder_of(tmp_path / "m", SHERPA)
    (folder / "joiner.int8.onnx").unlink()

    with pytest.raises(ModelBroken, match=r"joiner\.int8\.onnx missing.*stt-server download"):
        find_model(folder, embedded=folder_of(tmp_path / "e", SHERPA))


@pytest.mark.parametrize("what", ["file", "dangling", "notes"])
def test_what_is_no_folder_of_a_model_is_refused(tmp_path: Path, what: str) -> None:
    """A mistyped MODEL_PATH that hits something is an error, not the embedded model."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    folder_of(tmp_path / "notes", {"readme.txt": b""})

    with pytest.raises(ModelBroken, match=str(tmp_path / what)):
        find_model(tmp_path / what, embedded=folder_of(tmp_path / "e", SHERPA))


def test_names_are_the_operators_the_tables_or_the_folders(tmp_path: Path) -> None:
    """MODEL_NAME wins; a model of the table has its id; another is called as its folder."""
    known = folder_of(tmp_path / "m", SHERPA)
    foreign = folder_of(tmp_path / "mine", {**SHERPA, "tokens.txt": b"b 0\n", "joiner.int8.onnx": b"-"})

    assert find_model(known, models=TABLE).name == "one-id"
    assert find_model(known, "voicemail", models=TABLE).name == "voicemail"
    assert verify(find_model(known, "voicemail", models=TABLE), models=TABLE).name == "voicemail"
    assert find_model(foreign, models=TABLE).name == "mine"


def test_the_model_answers_to_the_names_clients_have_built_in(tmp_path: Path) -> None:
    """Its own id comes first, every alias follows, none twice, and no promise of telling speakers apart."""
    found = find_model(folder_of(tmp_path / "m", SHERPA), "whisper-1", models=TABLE)
    assert found.ids[0] == "whisper-1"
    assert sorted(found.ids) == sorted(set(ALIASES))
    assert "parakeet-tdt" in found.ids
    assert not any("diarize" in name for name in found.ids)


# -- Other families ----------------------------------------------------------------------------------

WHISPER = {"tiny.en-encoder.int8.onnx": b"e", "tiny.en-decoder.int8.onnx": b"d", "tiny.en-tokens.txt": b"IQ== 0\n"}
ZIPFORMER = {
    "encoder-epoch-99-avg-1.int8.onnx": b"e",
    "decoder-epoch-99-avg-1.onnx": b"d",
    "joiner-epoch-99-avg-1.int8.onnx": b"j",
    "tokens.txt": b"<blk> 0\n",
}
MOONSHINE = {
    "preprocess.onnx": b"p",
    "encode.int8.onnx": b"e",
    "uncached_decode.int8.onnx": b"u",
    "cached_decode.int8.onnx": b"c",
    "tokens.txt": b"<unk> 0\n",
}
CTC = {"model.int8.onnx": b"m", "tokens.txt": b"<blk> 0\n"}


@pytest.mark.parametrize(
    ("contents", "name", "family"),
    [
        (WHISPER, "whisper-tiny.en", "Whisper"),
        (ZIPFORMER, "zipformer", "Zipformer transducer"),
        (MOONSHINE, "moonshine", "Moonshine"),
        (CTC, "nemo-ctc", "NeMo CTC"),
    ],
)
def test_other_families_are_known_by_their_files(
    tmp_path: Path, contents: dict[str, bytes], name: str, family: str
) -> None:
    """Each is found, as it is or in the folder of its archive, called by its name, and held to its checksums."""
    folder = folder_of(tmp_path / "parakeet" / "model", contents)
    found = find_model(tmp_path / "parakeet")
    assert found.found is not None
    assert (found.found.family.title, found.name, found.owned_by, found.licence) == (family, name, "unknown", "unknown")
    assert sorted(found.files) == sorted(contents)
    assert find_model(folder, "voicemail").name == "voicemail"
    assert not verify(found).verified
    write_checksums(folder, *contents)
    assert verify(found).verified
    damaged = next(iter(contents))
    (folder / damaged).write_bytes(b"other")
    with pytest.raises(ModelBroken, match=re.escape(damaged)):
        verify(found)


@pytest.mark.parametrize(
    ("contents", "absent"),
    [
        *((WHISPER, name) for name in WHISPER),
        *((ZIPFORMER, name) for name in ZIPFORMER),
        *((MOONSHINE, name) for name in MOONSHINE),
        (CTC, "tokens.txt"),
    ],
)
def test_half_a_model_of_another_family_is_refused(tmp_path: Path, contents: dict[str, bytes], absent: str) -> None:
    """What it is and what it lacks is named."""
    folder = folder_of(tmp_path / "m", {name: content for name, content in contents.items() if name != absent})
    with pytest.raises(ModelBroken, match=r"incomplete: (Whisper|Zipformer|Moonshine|NeMo).* without its"):
        find_model(folder)


# -- Verifying -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_a_model_of_the_table_is_verified(tmp_path: Path, name: str) -> None:
    """Whole files of the table are believed, and tell whose model it is."""
    contents = {"one": SHERPA, "two": {**SHERPA, "encoder.int8.onnx": b"other"}, "three": ONNX_ASR}[name]
    found = verify(find_model(folder_of(tmp_path, contents), models=TABLE), models=TABLE)
    assert (found.verified, found.name, found.owned_by) == (True, f"{name}-id", "nvidia")
    assert found.created == TABLE[name].released


@pytest.mark.parametrize("name", SHERPA)
def test_one_flipped_bit_is_refused(tmp_path: Path, name: str) -> None:
    """Damage anywhere stops the start: the file, both checksums and the cure are named."""
    damaged = bytes([SHERPA[name][0] ^ 1]) + SHERPA[name][1:]
    folder = folder_of(tmp_path, {**SHERPA, name: damaged})

    with pytest.raises(ModelBroken) as refused:
        verify(find_model(folder, models=TABLE), models=TABLE)

    for part in (str(folder / name), hashlib.sha256(damaged).hexdigest(), "download --replace", CHECKSUMS):
        assert part in refused.value.message
    if name != "encoder.int8.onnx":  # two rows have the same others
        assert hashlib.sha256(SHERPA[name]).hexdigest() in refused.value.message


def test_a_truncated_file_is_refused_with_its_sizes(tmp_path: Path) -> None:
    """An interrupted copy is recognised as one."""
    folder = folder_of(tmp_path, {**ONNX_ASR, "encoder-model.int8.onnx": b"enc"})
    with pytest.raises(ModelBroken, match=r"encoder-model\.int8\.onnx .* 3 bytes instead of 7"):
        verify(find_model(folder, models=TABLE), models=TABLE)


def test_a_file_the_layout_can_do_without_is_checked_where_it_lies(tmp_path: Path) -> None:
    """config.json may be absent, but not wrong: the engine reads it."""
    folder = folder_of(tmp_path, ONNX_ASR)
    (folder / "config.json").unlink()
    assert verify(find_model(folder, models=TABLE), models=TABLE).verified
    (folder / "config.json").write_text("{!")
    with pytest.raises(ModelBroken, match=r"config\.json"):
        verify(find_model(folder, models=TABLE), models=TABLE)


def test_an_unlisted_model_is_let_through_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Weights of one's own work, and everybody can see that nobody vouches for them."""
    folder = folder_of(tmp_path / "mine", {name: b"?" + content for name, content in SHERPA.items()})

    found = verify(find_model(folder, models=TABLE), models=TABLE)

    assert (found.verified, found.name, found.owned_by, found.licence) == (False, "mine", "unknown", "unknown")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "unverified" in caplog.text


def test_checksums_beside_a_model_are_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SHA256SUMS vouches for weights of one's own, even for one that shares files with a model of the table."""
    folder = folder_of(tmp_path / "mine", {**SHERPA, "encoder.int8.onnx": b"mine"})
    write_checksums(folder, *SHERPA)

    found = verify(find_model(folder, models=TABLE), models=TABLE)

    assert (found.verified, found.name) == (True, "mine")
    assert caplog.text == ""


def test_checksums_beside_a_model_are_held_against_it(tmp_path: Path) -> None:
    """A file that SHA256SUMS lists and that differs, or is gone, stops the start."""
    folder = folder_of(tmp_path, {**SHERPA, "encoder.int8.onnx": b"mine", "notes.txt": b""})
    write_checksums(folder, *SHERPA, "notes.txt")
    (folder / "encoder.int8.onnx").write_bytes(b"mime")
    with pytest.raises(ModelBroken, match=r"encoder\.int8\.onnx is damaged"):
        verify(find_model(folder, models=TABLE), models=TABLE)

    (folder / "encoder.int8.onnx").write_bytes(b"mine")
    (folder / "notes.txt").unlink()
    with pytest.raises(ModelBroken, match=r"notes\.txt is missing"):
        verify(find_model(folder, models=TABLE), models=TABLE)


def test_a_list_that_leaves_out_a_file_is_refused(tmp_path: Path) -> None:
    """What would be loaded unchecked is named."""
    folder = folder_of(tmp_path, SHERPA)
    write_checksums(folder, "encoder.int8.onnx", "tokens.txt", "joiner.int8.onnx")
    with pytest.raises(ModelBroken, match=r"does not list decoder\.int8\.onnx"):
        verify(find_model(folder, models=TABLE), models=TABLE)


@pytest.mark.parametrize("line", ["abc  tokens.txt", "{}  ../tokens.txt", "{}  /etc/passwd", "{}", "hello"])
def test_a_list_that_is_none_is_refused(tmp_path: Path, line: str) -> None:
    """A damaged list, or one that points elsewhere, is not taken for no list."""
    folder = folder_of(tmp_path, SHERPA)
    (folder / CHECKSUMS).write_text(f"# made by hand\n\n{line.format('0' * 64)}\n")
    with pytest.raises(ModelBroken, match=r"line 3 is not what `sha256sum` prints"):
        verify(find_model(folder, models=TABLE), models=TABLE)


def test_lists_of_both_modes_are_read(tmp_path: Path) -> None:
    """`sha256sum -b` writes an asterisk, `find` a leading ./, some tools capitals."""
    folder = folder_of(tmp_path, SHERPA)
    sums = [hashlib.sha256(content).hexdigest() for content in SHERPA.values()]
    names = [" encoder.int8.onnx", "*decoder.int8.onnx", " ./joiner.int8.onnx", " tokens.txt"]
    lines = (f"{checksum.upper()} {name}\r\n" for checksum, name in zip(sums, names, strict=True))
    (folder / CHECKSUMS).write_text("".join(lines))
    assert verify(find_model(folder, models=TABLE), models=TABLE).verified


def test_a_damaged_embedded_model_is_not_to_be_downloaded(tmp_path: Path) -> None:
    """The cure fits: the embedded model comes with the program."""
    embedded = folder_of(tmp_path / "e", SHERPA)
    write_checksums(embedded, *SHERPA)
    (embedded / "tokens.txt").write_bytes(b"a 0\r\n")
    with pytest.raises(ModelBroken, match="part of the program"):
        verify(find_model(tmp_path / "none", embedded=embedded))


@needs_model
def test_a_real_small_model_is_found_and_any_flipped_byte_of_it_is_noticed(tmp_path: Path) -> None:
    """The whole way, with real files, every one of them damaged in its middle."""
    folder = tmp_path / "tiny"
    shutil.copytree(TINY_MODEL, folder, ignore=shutil.ignore_patterns("samples"), copy_function=shutil.copyfile)
    folder.chmod(0o755)
    names = find_model(folder).files
    write_checksums(folder, *names)
    assert verify(find_model(folder)).verified
    for name in names:
        whole = (folder / name).read_bytes()
        middle = len(whole) // 2
        (folder / name).write_bytes(whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :])
        with pytest.raises(ModelBroken, match=re.escape(name)):
            verify(find_model(folder))
        (folder / name).write_bytes(whole)


def test_the_embedded_model_is_looked_for_in_the_checkout() -> None:
    """Run from source, the embedded model is the committed one."""
    assert Path(__file__).parents[2] / "models" / "embedded" == EMBEDDED
