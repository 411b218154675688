"""The command line as its users have it: as a program, with a real small model and its real samples."""

import hashlib
import io
import json
import logging
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stt_server import __version__
from stt_server.batch import Batch
from stt_server.errors import DownloadFailed
from stt_server.install import download_model
from stt_server.speech.catalogue import DEFAULT_MODEL, MODELS, Model, ModelFile
from stt_server.speech.formats import Rendering
from stt_server.speech.models import CHECKSUMS
from stt_server.speech.processor import multiplies_exactly
from stt_server.types import Segment, Span, Transcript
from tests.assets import TINY_MODEL, needs_model
from tests.faults.family import family
from tests.faults.pressure import mapped_bytes
from tests.hub import Hub, open_hub
from tests.speech import craft
from tests.speech.engines import models
from tests.web.live import until

ROOT = Path(__file__).parents[1]
SAMPLES = TINY_MODEL / "samples"
SAID = {
    "flite-slt.wav": "Three five one six three.",
    "flite-rms.wav": "Press nine to hear the next message.",
    "pico-en-US.wav": "Six six five seven.",
}
"""What the small model hears in three of its samples, letter by letter."""


def environment(**variables: object) -> dict[str, str]:
    """Nothing of this process's settings, and no terminal's width."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**kept, "COLUMNS": "200", **{name: str(value) for name, value in variables.items()}}


def stt_server(
    *arguments: object, folder: Path | None = None, **variables: object
) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stt_server", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(**variables),
        timeout=120,
    )


def transcribe(*arguments: object, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return stt_server("transcribe", *arguments, folder=folder, MODEL_PATH=TINY_MODEL)


# -- The program -----------------------------------------------------------------------------------


def test_the_program_says_what_it_can_and_which_it_is() -> None:
    """Help names every command, the version is the package's, and neither loads what takes time to load."""
    asked = (
        "import sys; from stt_server.__main__ import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    for argument in ("--help", "--version"):
        ended = subprocess.run(
            [sys.executable, "-c", asked, argument], capture_output=True, text=True, env=environment()
        )
        assert ended.returncode == 0
        assert not {"numpy", "onnxruntime", "fastapi", "httpx", "pydantic"} & set(ended.stderr.split())
    assert ended.stdout == f"stt-server {__version__}\n"
    shown = stt_server("--help").stdout
    for command in ("serve", "transcribe", "download", "check", "bench"):
        assert command in shown
    assert "{FILE}...\n" in stt_server("transcribe", "--help").stdout


def test_the_installed_command_is_the_same_program() -> None:
    """`stt-server` and `python -m stt_server` do the same."""
    command = Path(sys.executable).with_name("stt-server")
    ended = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert ended.stdout == f"stt-server {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["serve"], {"HOST": "0.0.0.0"}, "API_KEYS"),
        (["serve", "--host", "0.0.0.0"], {}, "API_KEYS"),
        (["serve", "--port", "99999"], {}, "PORT"),
        (["serve"], {"THREADS": "many"}, "THREADS"),
        (["download", "parakeet-v9"], {}, "There is no model 'parakeet-v9'"),
        (["download"], {"MODEL_MIRROR": "nowhere"}, "MODEL_MIRROR"),
        (["transcribe", "-l", "klingonese!", __file__], {}, "Invalid language"),
        (["transcribe", __file__], {"MODEL_PATH": __file__}, "Not a directory"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], message: str
) -> None:
    """What an operator did wrong is said in a line on standard error that names it; never a traceback."""
    ended = stt_server(*arguments, folder=tmp_path, **variables)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("stt-server: ")
    assert message in ended.stderr
    assert list(tmp_path.iterdir()) == []


# -- transcribe ------------------------------------------------------------------------------------


@needs_model
def test_one_file_is_its_text_on_standard_output() -> None:
    """The exact words, one line, nothing else: made to be piped."""
    ended = transcribe(SAMPLES / "flite-slt.wav")
    assert ended.stdout == "Three five one six three.\n"
    assert ended.returncode == 0
    assert "unverified" in ended.stderr  # the only other thing said, and not on standard output


@needs_model
def test_several_files_have_headers_and_failures_do_not_stop_them(tmp_path: Path) -> None:
    """Every file that can be transcribed is; each that cannot is one line, and the status is 1."""
    (tmp_path / "noise.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    (tmp_path / "letter.doc").write_text("Dear all,")
    files = [SAMPLES / "flite-slt.wav", tmp_path / "noise.wav", tmp_path / "letter.doc", SAMPLES / "pico-en-US.wav"]

    ended = transcribe(*files, tmp_path, tmp_path / "absent.wav")

    assert ended.stdout == (f"==> {files[0]} <==\nThree five one six three.\n==> {files[3]} <==\nSix six five seven.\n")
    failures = [line for line in ended.stderr.splitlines() if line.startswith("stt-server: ")]
    assert {line.split(": ")[1] for line in failures} == {
        *map(str, files[1:3]),
        str(tmp_path),
        str(tmp_path / "absent.wav"),
    }
    assert len(failures) == 4
    assert ended.returncode == 1


@needs_model
def test_a_hostile_file_is_decoded_elsewhere(tmp_path: Path) -> None:
    """One that has the decoder ask for gigabytes costs this process none, and only itself its transcript."""
    bomb = tmp_path / "bomb.wav"
    info = craft.chunk(b"LIST", b"INFO" + craft.chunk(b"ISFT", b"x" * 8, 0x7FFFFFF0), 0xFFFFFF00)
    bomb.write_bytes(craft.wav(bytes(32_000), before=info))

    def most_mapped(*files: Path) -> tuple[str, int]:
        with started("transcribe", *files) as process:
            most = 0
            while process.poll() is None:
                with suppress(OSError, IndexError):  # it has just ended
                    most = max(most, mapped_bytes(process.pid))
            assert process.stdout
            return process.stdout.read(), most

    _, usual = most_mapped(SAMPLES / "flite-slt.wav")
    told, most = most_mapped(bomb, SAMPLES / "flite-slt.wav")
    assert SAID["flite-slt.wav"] in told
    assert most < usual + (1 << 30)


@needs_model
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_stopped(tmp_path: Path, how: int) -> None:
    """In the middle of a file, however it is stopped: no process goes on without it."""
    (tmp_path / "long.flac").write_bytes(craft.silent_flac(3600, 192_000, 8))
    with started("transcribe", tmp_path / "long.flac") as process:
        until(lambda: len(family(process.pid)) >= 4)
        members = family(process.pid)
        process.send_signal(how)
        assert process.wait(20) != 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members[1:]), 10)


def started(*arguments: object) -> "subprocess.Popen[str]":
    """The program, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "stt_server", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(MODEL_PATH=TINY_MODEL),
    )


@needs_model
def test_patterns_are_expanded_and_each_file_is_done_once(tmp_path: Path) -> None:
    """A pattern that the shell left alone means the files it matches; results lie in a folder, named as the audio."""
    for name in SAID:
        shutil.copyfile(SAMPLES / name, tmp_path / name)
    (tmp_path / "folder.wav").mkdir()

    ended = transcribe("*.wav", "flite-slt.wav", "-o", "out/texts", "--model-path", TINY_MODEL, folder=tmp_path)

    assert (ended.returncode, ended.stdout) == (0, "")
    texts = {path.name: path.read_text() for path in (tmp_path / "out" / "texts").iterdir()}
    assert texts == {name.replace(".wav", ".txt"): f"{said}\n" for name, said in SAID.items()}


def test_a_pattern_without_files_is_a_failure(tmp_path: Path) -> None:
    """Nothing to do is not success, and costs no model."""
    ended = transcribe("*.wav", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "stt-server: *.wav: there is no such file\n")


@needs_model
@pytest.mark.parametrize("response_format", ["json", "verbose_json", "srt", "vtt"])
def test_every_format_is_written_with_its_ending(tmp_path: Path, response_format: str) -> None:
    """Formats are those of the server, in files that players and programs recognise by their names."""
    ended = transcribe(SAMPLES / "flite-slt.wav", "-f", response_format, "-o", tmp_path)

    assert ended.returncode == 0, ended.stderr
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    assert "Three five one six three." in text
    if response_format.endswith("json"):
        assert path.name == "flite-slt.json"
        assert json.loads(text)["text"] == "Three five one six three."
    else:
        assert path.name == f"flite-slt.{response_format}"
        assert text.startswith({"srt": "1\n00:00:0", "vtt": "WEBVTT\n\n"}[response_format])


@needs_model
def test_words_and_language_reach_the_answer() -> None:
    """`--words` adds their times, `--language` is believed, in any spelling."""
    ended = transcribe(SAMPLES / "flite-slt.wav", "-f", "verbose_json", "--words", "-l", "EN-us")
    body = json.loads(ended.stdout)
    assert [word["word"] for word in body["words"]] == ["Three", "five", "one", "six", "three"]
    times = [time for word in body["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert body["language"] == "english"
    assert body["segments"]

    assert "words" not in json.loads(transcribe(SAMPLES / "flite-slt.wav", "-f", "verbose_json").stdout)


def test_words_where_no_format_has_them_are_refused() -> None:
    """Asking for what cannot be had is a mistake of use, not silently ignored."""
    ended = transcribe("--words", __file__)
    assert ended.returncode == 2
    assert "verbose_json" in ended.stderr


@needs_model
def test_two_inputs_never_become_one_file(tmp_path: Path) -> None:
    """Of two files of the same name the second is refused, not written over the first."""
    for folder, name in (("a", "flite-slt.wav"), ("b", "flite-rms.wav")):
        (tmp_path / folder).mkdir()
        shutil.copyfile(SAMPLES / name, tmp_path / folder / "message.wav")

    ended = transcribe(tmp_path / "a" / "message.wav", tmp_path / "b" / "message.wav", "-o", tmp_path / "out")

    assert (tmp_path / "out" / "message.txt").read_text() == "Three five one six three.\n"
    assert re.search(r"b/message\.wav: .*overwrite that of .*a/message\.wav", ended.stderr)
    assert ended.returncode == 1


@needs_model
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A disk error is a line that names the file."""
    (tmp_path / "file").write_text("")
    ended = transcribe(SAMPLES / "flite-slt.wav", "-o", tmp_path / "file")
    assert ended.stderr.splitlines()[-1] == f"stt-server: {tmp_path}/file: File exists"
    assert ended.returncode == 1


@needs_model
def test_a_terminal_sees_a_bar_and_a_pipe_only_words() -> None:
    """Progress goes to the terminal on standard error; standard output stays clean."""
    outer, inner = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "stt_server", "transcribe", SAMPLES / "flite-slt.wav"],
            stdout=subprocess.PIPE,
            stderr=inner,
            env=environment(MODEL_PATH=TINY_MODEL, TERM="xterm"),
        ) as process:
            stdout, _ = process.communicate()
        os.close(inner)
        shown = read_all(outer)
    finally:
        os.close(outer)
    assert stdout == b"Three five one six three.\n"
    assert b"flite-slt.wav" in shown


def read_all(descriptor: int) -> bytes:
    """What a terminal was sent; its closing is an error of its own on Linux."""
    shown = b""
    try:
        while piece := os.read(descriptor, 65536):
            shown += piece
    except OSError:
        pass
    return shown


def test_a_stretch_that_was_not_recognised_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A hole in a text is never silent, although plain text has no place for it."""
    transcript = Transcript((Segment("Before", 0, 1),), 65, "en", "m", gaps=(Span(3, 62.25),))

    Batch("text", Rendering(), None, headers=False).run("call.wav", lambda _: transcript)

    said = capsys.readouterr()
    assert said.out == "Before\n"
    assert said.err == "stt-server: call.wav: 3.0 to 62.2 s could not be recognised\n"


# -- download --------------------------------------------------------------------------------------


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The command sets logging up for its process; this one is pytest's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def small_model() -> Iterator[tuple[Hub, dict[str, Model]]]:
    """The default model's name, with small files, on a mirror."""
    contents = {
        "encoder.int8.onnx": os.urandom(2_500_000),
        "decoder.int8.onnx": b"d",
        "joiner.int8.onnx": b"j",
        "tokens.txt": b"t",
    }
    files = tuple(ModelFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    with open_hub() as hub:
        hub.files = {f"{DEFAULT_MODEL}/{name}": content for name, content in contents.items()}
        yield hub, {DEFAULT_MODEL: replace(MODELS[DEFAULT_MODEL], files=files)}


def test_a_download_goes_where_the_server_looks_and_credits_its_makers(
    small_model: tuple[Hub, dict[str, Model]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    root_logger: None,
) -> None:
    """Without arguments the default model lands in MODEL_PATH, from MODEL_MIRROR, with progress in plain lines."""
    hub, models = small_model
    monkeypatch.setenv("MODEL_MIRROR", hub.base)
    monkeypatch.setenv("MODEL_PATH", str(tmp_path / "models" / "parakeet"))
    monkeypatch.setenv("HOST", "0.0.0.0")  # as in the image, where the same variables serve every command

    download_model("", None, replace=False, models=models)

    assert (tmp_path / "models" / "parakeet" / "tokens.txt").read_text() == "t"
    said = capsys.readouterr()
    assert "CC-BY-4.0" in said.out
    assert "NVIDIA" in said.out
    assert "MODEL_PATH=" not in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("encoder.int8.onnx")]
    assert 2 <= len(lines) <= 11
    assert lines[-1] == "encoder.int8.onnx: 100 % of 2.4 MiB"


def test_a_terminal_sees_bars(
    small_model: tuple[Hub, dict[str, Model]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root_logger: None,
) -> None:
    """On a terminal each file has a bar with its size."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    hub, models = small_model
    monkeypatch.setenv("MODEL_MIRROR", hub.base)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    download_model("", tmp_path / "m", replace=False, models=models)

    shown = terminal.getvalue()
    for part in ("encoder.int8.onnx", "tokens.txt", "2.5/2.5 MB"):
        assert part in shown


def test_a_download_to_elsewhere_says_how_the_server_finds_it(
    small_model: tuple[Hub, dict[str, Model]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    root_logger: None,
) -> None:
    """`--to` is not where the server looks by itself; `--replace` repairs there."""
    hub, models = small_model
    monkeypatch.setenv("MODEL_MIRROR", hub.base)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "tokens.txt").write_text("damaged")

    with pytest.raises(DownloadFailed, match="--replace"):
        download_model("", tmp_path / "here", replace=False, models=models)
    download_model(DEFAULT_MODEL, tmp_path / "here", replace=True, models=models)

    assert f"MODEL_PATH={tmp_path / 'here'}" in capsys.readouterr().out
    assert (tmp_path / "here" / "tokens.txt").read_text() == "t"


@needs_model
@pytest.mark.skipif(not multiplies_exactly(), reason="nothing is prepared for this processor")
def test_a_download_prepares_the_model_and_a_check_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root_logger: None
) -> None:
    """The fast form of a large model is made with the download, not by the first start; a check only looks."""
    source = models.heavy(tmp_path / "source")
    names = ("encoder.int8.onnx", "decoder.int8.onnx", "joiner.int8.onnx", "tokens.txt")
    contents = {name: (source / name).read_bytes() for name in names}
    files = tuple(ModelFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    table = {DEFAULT_MODEL: replace(MODELS[DEFAULT_MODEL], files=files)}
    before = stt_server("check", "-m", source)
    with open_hub() as hub:
        hub.files = {f"{DEFAULT_MODEL}/{name}": content for name, content in contents.items()}
        monkeypatch.setenv("MODEL_MIRROR", hub.base)
        download_model("", tmp_path / "m", replace=False, models=table)
    after = stt_server("check", "-m", tmp_path / "m")

    said = capsys.readouterr()
    assert re.search(r"^encoder\.int8\.onnx, prepared: 100 % of \d", said.err, re.MULTILINE)
    assert re.search(r"^Encoder: encoder\.onnx, rewritten for fast 8-bit kernels\.$", said.out, re.MULTILINE)
    assert re.search(r"^note encoder +encoder\.int8\.onnx, not prepared yet", before.stdout, re.MULTILINE)
    assert re.search(r"^ok   encoder +encoder\.onnx, rewritten", after.stdout, re.MULTILINE)
    assert not (source / ".prepared").exists()


@pytest.mark.parametrize("door", [["-m", "stt_server", "download"], [str(ROOT / "scripts" / "download_model.py")]])
def test_a_mirror_without_the_model_is_named_by_both_doors(tmp_path: Path, door: list[str]) -> None:
    """`scripts/download_model.py` is the same command; a failure names host and file and what can be set."""
    with open_hub() as hub:
        ended = subprocess.run(
            [sys.executable, *door, "parakeet-tdt-0.6b-v2", "--to", tmp_path / "m"],
            capture_output=True,
            text=True,
            env=environment(MODEL_MIRROR=hub.base),
        )
        assert hub.asked == [("parakeet-tdt-0.6b-v2/encoder.int8.onnx", None, None)]
    assert ended.returncode == 1
    assert ended.stderr.startswith("stt-server: The download of parakeet-tdt-0.6b-v2 failed. 127.0.0.1 answered 404")
    assert ended.stderr.count("\n") == 1


def test_the_list_shows_every_model_with_its_size_and_licence() -> None:
    """Somebody choosing sees all there are."""
    shown = stt_server("download", "--list").stdout
    assert [line.split()[0] for line in shown.splitlines()] == list(MODELS)
    assert shown.count("CC-BY-4.0") == len(MODELS)
    assert shown.count("(default)") == 1


# -- check -----------------------------------------------------------------------------------------


@needs_model
def test_a_good_machine_passes_its_check(tmp_path: Path) -> None:
    """Everything needed is named with what was found; secrets are not shown."""
    ended = stt_server(
        "check",
        folder=tmp_path,
        MODEL_PATH=TINY_MODEL,
        API_KEYS="acme:hunter2,swordfish",
        MODEL_MIRROR="https://user:hunter2@mirror.example",
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = {line[5:29].strip(): (line[:5].strip(), line[29:]) for line in ended.stdout.splitlines()}
    assert lines["version"][1].startswith(f"stt-server {__version__}, Python {sys.version.split()[0]}")
    for what in ("cpu", "libraries", "decoder", "recognition", "storage"):
        assert lines[what][0] in ("ok", "note")
    assert lines["model"] == (
        "note",
        f"tiny (unknown, unknown) in {TINY_MODEL.resolve()}, unverified: no checksums to compare with",
    )
    assert lines["encoder"] == ("ok", "encoder.int8.onnx, small enough as it is")
    assert lines["API_KEYS"] == ("", "2 hidden")
    assert lines["MODEL_MIRROR"] == ("", "https://***@mirror.example")
    assert lines["PORT"] == ("", "8000  (default)")
    assert "hunter2" not in ended.stdout
    assert "swordfish" not in ended.stdout
    assert ended.stdout.endswith("Everything works.\n")
    assert list(tmp_path.iterdir()) == []


@needs_model
def test_a_damaged_model_fails_the_check_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    """The check goes on after what it finds wrong, and ends with status 1."""
    folder = tmp_path / "mine"
    shutil.copytree(TINY_MODEL, folder, ignore=shutil.ignore_patterns("samples"), copy_function=shutil.copyfile)
    folder.chmod(0o755)
    (folder / CHECKSUMS).write_text("".join(f"{'0' * 64}  {path.name}\n" for path in sorted(folder.iterdir())))

    ended = stt_server("check", "--model-path", folder, folder=tmp_path)

    assert ended.returncode == 1
    assert re.search(r"^FAIL model +.*/README\.md is damaged", ended.stdout, re.MULTILINE)
    assert re.search(r"^ok   storage ", ended.stdout, re.MULTILINE)
    assert ended.stdout.endswith("Not working: model.\n")


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("HOST", "0.0.0.0", "API_KEYS"),
        ("API_KEYS", ":hunter2", "API_KEYS"),
        ("FETCH_ALLOW_HOSTS", "https://pbx.example/", "FETCH_ALLOW_HOSTS"),
        ("FETCH_CA_BUNDLE", "nowhere.pem", "FETCH_CA_BUNDLE"),
    ],
)
def test_settings_that_would_stop_the_server_fail_the_check(name: str, value: str, named: str) -> None:
    """What `serve` would refuse is found before."""
    ended = stt_server("check", folder=None, **{name: value})
    assert ended.returncode == 1
    assert re.search(rf"^FAIL settings +.*{named}", ended.stdout, re.MULTILINE)
    assert "hunter2" not in ended.stdout


def test_a_folder_that_cannot_be_made_fails_the_check(tmp_path: Path) -> None:
    """Nothing is looked for above what is there and no folder: `serve` could not go around it either."""
    (tmp_path / "volume").write_text("This is no folder.")
    ended = stt_server("check", folder=None, DB_PATH=tmp_path / "volume" / "jobs.db")
    assert ended.returncode == 1
    assert re.search(r"^FAIL storage +.*/volume cannot be written: Not a directory", ended.stdout, re.MULTILINE)
