"""`stt-server transcribe`: audio files in, transcripts out, one after the other; decoded as by the server, apart."""

import glob
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stt_server import logs
from stt_server.errors import SttError
from stt_server.jobs.decoding import decoding_apart
from stt_server.settings import forget_environment, load_settings
from stt_server.speech.engines import load
from stt_server.speech.formats import FORMATS, Rendering
from stt_server.speech.language import parse_language
from stt_server.speech.models import Installed, find_model, verify
from stt_server.speech.processor import Kernels
from stt_server.speech.transcribe import transcribe
from stt_server.types import Options, Transcript

ENDINGS = {"json": "json", "text": "txt", "srt": "srt", "vtt": "vtt", "verbose_json": "json"}
"""Response format -> what its files are called."""


class Batch:
    """What happens to every file, and how many of them failed."""

    def __init__(self, response_format: str, rendering: Rendering, output_dir: Path | None, *, headers: bool) -> None:
        self.failures = 0
        self._format = response_format
        self._rendering = rendering
        self._output_dir = output_dir
        self._headers = headers
        self._written: dict[Path, str] = {}

    def run(self, file: str, recognise: Callable[[Path], Transcript]) -> None:
        """Transcribe one file and write the result; a failure is one line on standard error."""
        try:
            target = self._target(Path(file))
            transcript = recognise(Path(file))
            text = self._render(transcript)
            for gap in transcript.gaps:
                self._say(file, f"{gap.start:.1f} to {gap.end:.1f} s could not be recognised")
            if target:
                target.write_text(text, encoding="utf-8")
                return
        except SttError as error:
            self.fail(file, error.message)
            return
        except OSError as error:
            self.fail(error.filename or file, error.strerror or str(error))
            return
        # Outside: a reader that has gone (`| head`) is no failure of this file.
        print(f"==> {file} <==\n{text}" if self._headers else text, end="", flush=True)

    def fail(self, name: str, reason: str) -> None:
        """Count and say it."""
        self.failures += 1
        self._say(name, reason)

    @staticmethod
    def _say(name: str, what: str) -> None:
        print(f"stt-server: {name}: {what}", file=sys.stderr)

    def _target(self, file: Path) -> Path | None:
        """Where the transcript goes; None for standard output."""
        if self._output_dir is None:
            return None
        self._output_dir.mkdir(parents=True, exist_ok=True)
        target = self._output_dir / f"{file.stem}.{ENDINGS[self._format]}"
        other = self._written.setdefault(target, str(file))
        if other != str(file):
            raise SttError(f"its transcript would overwrite that of {other}: {target}")
        return target

    def _render(self, transcript: Transcript) -> str:
        body = FORMATS[self._format].render(transcript, self._rendering)
        return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def transcribe_files(
    patterns: list[str],
    *,
    response_format: str,
    output_dir: Path | None,
    language: str | None,
    words: bool,
    model_path: Path | None,
) -> int:
    """Transcribe what the patterns name. 1 when any of it failed; the rest is done all the same."""
    spoken = parse_language(language) if language else None
    # Nothing listens: the rules for who may call do not matter.
    settings = load_settings(host="127.0.0.1", **({"model_path": model_path} if model_path else {}))
    forget_environment()
    logs.configure("warning", settings.log_format)
    files, strangers = _expand(patterns)
    rendering = Rendering(frozenset({"segment", "word"} if words else {"segment"}))
    batch = Batch(response_format, rendering, output_dir, headers=len(files) > 1)
    for pattern in strangers:
        batch.fail(pattern, "there is no such file")
    if not files:
        return 1
    longest = settings.max_audio_duration_secs
    with decoding_apart(max_duration=longest) as preparation:
        installed = verify(find_model(settings.model_path, settings.model_name))
        _try(installed)
        engine = load(installed.folder, threads=settings.threads, kernels=Kernels(settings.kernels))
        options = Options(model=installed.name, language=spoken)

        def recognise(path: Path) -> Transcript:
            with _progress(path.name) as show:
                return transcribe(
                    path,
                    engine,
                    options,
                    max_duration=longest,
                    threads=settings.threads,
                    on_progress=show,
                    filename=path.name,
                    preparation=preparation,
                )

        for file in files:
            batch.run(file, recognise)
    return 1 if batch.failures else 0


def _try(installed: Installed) -> None:
    """See that the model does not end this process without a word. Raises `ModelBroken`."""
    if installed.found:
        from stt_server.speech.engines.sherpa import rehearse

        rehearse(installed.found)


def _expand(patterns: list[str]) -> tuple[list[str], list[str]]:
    """Files, each once, and what named none. Shells that leave patterns to the program exist."""
    files: dict[str, None] = {}
    strangers = []
    for pattern in patterns:
        if not (found := [pattern] if Path(pattern).exists() else _matches(pattern)):
            strangers.append(pattern)
        files |= dict.fromkeys(found)
    return list(files), strangers


def _matches(pattern: str) -> list[str]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no pattern from the root
    return sorted(name for name in names if Path(name).is_file())


@contextmanager
def _progress(name: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on a terminal, gone when the file is done; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        task = bars.add_task(name, total=1.0)
        yield lambda done: bars.update(task, completed=done)
