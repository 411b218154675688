"""The command: load, measure, show."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table

from stt_server import logs
from stt_server.bench.accuracy import Difference, Judged, compare, judge
from stt_server.bench.memory import peak_mib
from stt_server.bench.recordings import Recording, read_recordings
from stt_server.bench.speed import Pace, measure
from stt_server.errors import ModelBroken
from stt_server.jobs.decoding import decoding_apart
from stt_server.settings import Settings, forget_environment, load_settings
from stt_server.speech.engines import Engine, load
from stt_server.speech.models import Installed, find_model, verify
from stt_server.speech.processor import read_facts


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready."""

    engine: Engine
    name: str
    seconds: float
    """That it took."""
    peak_mib: float
    """Memory that it took meanwhile."""


def run_bench(
    *, model_path: Path | None, seconds: float, speech: Path | None, against: Path | None, as_json: bool
) -> int:
    """Measure this machine with the configured model; with recordings, also its errors."""
    # Nothing listens: the rules for who may call do not matter.
    settings = load_settings(host="127.0.0.1", **({"model_path": model_path} if model_path else {}))
    forget_environment()
    logs.configure("warning", settings.log_format)
    recordings = read_recordings(speech) if speech else []
    other = _find_other(against) if against else None
    said = Console(stderr=True)
    with said.status("loading the model") as status:
        loaded = _load(find_model(settings.model_path, settings.model_name), settings)
        paces = list(_paces(loaded, settings, seconds, status)) if seconds else []
        judged = _judge(loaded, other, recordings, settings, status) if recordings else []
    verdict = compare(*judged) if len(judged) == 2 else None
    if as_json:
        print(json.dumps(_as_data(settings, loaded, paces, len(recordings), judged, verdict), indent=2))
    else:
        _show(settings, loaded, paces, len(recordings), judged, verdict)
    return 0


def _find_other(folder: Path) -> Installed:
    """The second model. Nothing stands in for it."""
    installed = find_model(folder)
    if installed.embedded and not folder.is_dir():
        raise ModelBroken(f"There is no model in {folder}.")
    return installed


def _load(installed: Installed, settings: Settings) -> Loaded:
    installed = verify(installed)
    began = time.perf_counter()
    engine = load(installed.folder, threads=settings.threads)
    return Loaded(engine, installed.name, time.perf_counter() - began, peak_mib())


def _paces(loaded: Loaded, settings: Settings, seconds: float, status: Status) -> Sequence[Pace]:
    def say(length: float, many: int) -> None:
        status.update(f"{length:g} s of speech, {many} at a time")

    return list(measure(loaded.engine, settings.threads, seconds=seconds, on_step=say))


def _judge(
    loaded: Loaded, other: Installed | None, recordings: Sequence[Recording], settings: Settings, status: Status
) -> list[Judged]:
    """One model after the other: two at once may not fit into memory."""
    longest = settings.max_audio_duration_secs
    with decoding_apart(max_duration=longest) as preparation:

        def one(model: Loaded) -> Judged:
            return judge(
                model.engine,
                model.name,
                recordings,
                threads=settings.threads,
                longest=longest,
                preparation=preparation,
                on_step=lambda done: status.update(f"{model.name}: {done} of {len(recordings)} recordings"),
            )

        judged = [one(loaded)]
        return [*judged, one(_load(other, settings))] if other else judged


# -- Showing -----------------------------------------------------------------------------------------


def _as_data(
    settings: Settings,
    loaded: Loaded,
    paces: Sequence[Pace],
    recordings: int,
    judged: Sequence[Judged],
    verdict: Difference | None,
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "model": loaded.name,
        "processor": read_facts().get("model name"),
        "threads": settings.threads,
        "loading": {"seconds": loaded.seconds, "peak_mib": loaded.peak_mib},
        "speed": [asdict(pace) for pace in paces],
    }
    if judged:
        data["recordings"] = recordings
        data["accuracy"] = [
            {"model": one.model, "words": one.words, "errors": one.errors, "word_error_rate": one.rate}
            for one in judged
        ]
    if verdict:
        data["difference"] = asdict(verdict)
    return data


def _show(
    settings: Settings,
    loaded: Loaded,
    paces: Sequence[Pace],
    recordings: int,
    judged: Sequence[Judged],
    verdict: Difference | None,
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{loaded.name}, {settings.threads} threads, {read_facts().get('model name', 'unknown processor')};"
        f" loaded in {loaded.seconds:.1f} s with {loaded.peak_mib:.0f} MiB of memory at most"
    )
    if paces:
        console.print(_speed_table(paces))
    if judged:
        console.print(_error_table(judged))
        console.print(f"Over {recordings} recordings; without case and punctuation.")
    if verdict:
        one, other = (model.model for model in judged)
        conclusion = (
            f"{one if verdict.points > 0 else other} makes fewer errors" if verdict.certain else "they may be equal"
        )
        console.print(
            f"Difference: {verdict.points:+.2f} points, with 95 % confidence between {verdict.low:+.2f} and"
            f" {verdict.high:+.2f}: {conclusion}."
        )


def _speed_table(paces: Sequence[Pace]) -> Table:
    table = Table("clip", "at a time", "real-time factor", "seconds of audio a second", "seconds a clip", "peak memory")
    for pace in paces:
        table.add_row(
            f"{pace.length:g} s",
            str(pace.at_a_time),
            f"{pace.factor:.3f}",
            f"{1 / pace.factor:.1f}",
            f"{pace.latency:.2f}",
            f"{pace.peak_mib:.0f} MiB" if pace.peak_mib else "-",
        )
    return table


def _error_table(judged: Sequence[Judged]) -> Table:
    table = Table("model", "words", "errors", "word error rate")
    for one in judged:
        table.add_row(one.model, f"{one.words:,}", f"{one.errors:,}", f"{one.rate:.2f} %")
    return table
