"""Models of other families, through the program as it is run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.process import ROUTE, ServerProcess
from tests.sounds import SAMPLE
from tests.speech.engines import families
from tests.speech.engines.families import FAMILIES

TIMED = ("zipformer", "nemo ctc")


def run(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """`stt-server` with these arguments, in a folder."""
    command = [str(Path(sys.executable).parent / "stt-server"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_served_under_its_own_name(tmp_path: Path, name: str) -> None:
    """`/health` and `/v1/models` say what it is, every format is answered, and no time is made up."""
    folder = FAMILIES[name](tmp_path / "model")
    called = {"whisper": "whisper-tiny", "nemo ctc": "nemo-ctc"}.get(name, name)
    with ServerProcess(tmp_path, MODEL_PATH=str(folder)) as server:
        facts = server.ready().http.get("/health").json()
        assert (facts["model"], facts["owned_by"], facts["embedded"]) == (called, "unknown", False)
        assert server.http.get("/v1/models").json()["data"][0]["id"] == called
        answers = {}
        for response_format in ("json", "verbose_json", "srt", "vtt"):
            fields = {
                "response_format": response_format,
                "timestamp_granularities[]": ["word", "segment"],
                "include[]": "logprobs",
            }
            answers[response_format] = server.http.post(ROUTE, files={"file": SAMPLE.read_bytes()}, data=fields)
        assert {answer.status_code for answer in answers.values()} == {200}
        verbose = answers["verbose_json"].json()
        assert bool(verbose["words"]) == (name in TIMED)
        assert bool(answers["json"].json()["logprobs"]) == (name == "zipformer")
        assert verbose["text"] == " ".join(segment["text"].strip() for segment in verbose["segments"])
        assert all(0 <= part["start"] < part["end"] <= verbose["duration"] for part in verbose["segments"])
        said = verbose["text"].split()
        assert said
        for subtitles in (answers["srt"].text, answers["vtt"].text):
            assert [word for word in subtitles.split() if word in families.WORDS] == said


def test_whisper_is_told_the_language(tmp_path: Path) -> None:
    """`language` steers it, and verbose_json names what it heard where nothing was asked."""
    folder = families.whisper(tmp_path / "model")
    with ServerProcess(tmp_path, MODEL_PATH=str(folder)) as server:
        server.ready()
        heard = {}
        for language in ("", "fr", "english"):
            fields = {"response_format": "verbose_json", "language": language}
            body = server.http.post(ROUTE, files={"file": SAMPLE.read_bytes()}, data=fields).json()
            heard[language] = body["language"], set(body["text"].split()) & {"grave", "aigu"} != set()
        assert heard == {"": ("english", False), "fr": ("french", True), "english": ("english", False)}


def test_the_check_says_what_runs_it(tmp_path: Path) -> None:
    """With its files, and the package that runs them."""
    done = run(tmp_path, "check", "-m", families.moonshine(tmp_path / "model"))
    assert "Moonshine: preprocess.onnx, encode.int8.onnx, " in done.stdout
    assert "run by sherpa-onnx" in done.stdout
    assert "FAIL" not in done.stdout


def test_a_model_that_ends_its_process_ends_the_start(tmp_path: Path) -> None:
    """The server gives up, and each command says why, in one line."""
    folder = families.deadly(tmp_path / "model")
    for command, said in (
        (["serve", "--port", 0], "died again and again while it loaded the model"),
        (["transcribe", SAMPLE], "ends the process that loads it"),
        (["check"], "ends the process that loads it"),
    ):
        done = run(tmp_path, *command, "-m", folder)
        assert done.returncode == 1
        assert (done.stdout + done.stderr).count(said) == 1
        assert "Traceback" not in done.stderr
