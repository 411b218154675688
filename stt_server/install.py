"""`stt-server download`: show what is there to be had, fetch it, say how far it is and whose it is."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stt_server import logs
from stt_server.settings import load_settings
from stt_server.speech.catalogue import DEFAULT_MODEL, MODELS, Model
from stt_server.speech.download import download
from stt_server.speech.engines.prepared import prepare
from stt_server.speech.processor import Kernels
from stt_server.speech.transfer import MIB, Progress

STEP = 10
"""Per cent between two lines where there is no terminal."""


def list_models(models: Mapping[str, Model] = MODELS) -> None:
    """One line for each model of the table."""
    for model in models.values():
        default = "  (default)" if model.name == DEFAULT_MODEL else ""
        print(f"{model.name:<26} {model.size / MIB:4.0f} MiB  {model.licence}  {model.title}{default}")


def download_model(name: str, folder: Path | None, *, replace: bool, models: Mapping[str, Model] = MODELS) -> None:
    """Download a model to where the server looks for it, or elsewhere. Raises `DownloadFailed`."""
    settings = load_settings(host="127.0.0.1")  # nothing listens: the rules for who may call do not matter
    logs.configure("warning", settings.log_format)
    name, target = name or DEFAULT_MODEL, folder or settings.model_path
    try:
        with _progress() as show:
            download(name, target, mirror=settings.model_mirror, replace=replace, on_progress=show, models=models)
            choice = prepare(target, show, kernels=Kernels(settings.kernels))
    except KeyboardInterrupt:
        print("Stopped. The same command continues.", file=sys.stderr)
        raise
    model = models[name]
    print(f"{model.title}: in {target}, verified.\nEncoder: {choice.path.name}, {choice.why}.")
    print(f"Licence: {model.licence}. {model.credit}")
    if target.resolve() != settings.model_path.resolve():
        print(f"The server finds it there with MODEL_PATH={target}.")


@contextmanager
def _progress() -> Iterator[Progress]:
    if sys.stderr.isatty():
        with _bars() as show:
            yield show
    else:
        yield _Lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    tasks: dict[str, rich.TaskID] = {}
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:

        def show(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done)

        yield show


class _Lines:
    """A line whenever a file has come some per cent further."""

    def __init__(self) -> None:
        self._said: dict[str, int] = {}

    def __call__(self, file: str, done: int, total: int) -> None:
        """Say how far it is, now and then."""
        percent = 100 * done // total // STEP * STEP
        if percent != self._said.get(file):
            self._said[file] = percent
            print(f"{file}: {percent} % of {total / MIB:.1f} MiB", file=sys.stderr, flush=True)
