"""The command line: serve, transcribe, download, check, bench. Settings come from the environment.

What a command needs is imported when it runs: `--help` must not wait for numpy.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from stt_server import __version__
from stt_server.errors import SttError

app = typer.Typer(
    name="stt-server",
    help="Speech to text with Parakeet TDT: an OpenAI-compatible server, and the same for files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # it would swallow [brackets]
    pretty_exceptions_enable=False,
)

ModelPath = Annotated[
    Path | None, typer.Option("--model-path", "-m", metavar="FOLDER", help="Folder of a model.  [env: MODEL_PATH]")
]


def main() -> None:
    """Run one command. What goes wrong is one line on standard error and status 1."""
    # Before numpy is imported, here and in every child: the products here are small, and OpenBLAS threads that wait
    # for each other on busy cores made voice activity detection a hundred times slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except SttError as error:
        print(f"stt-server: {error.message}", file=sys.stderr)
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"stt-server {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [env: HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [env: PORT]")] = None,
    model_path: ModelPath = None,
) -> None:
    """Answer requests until stopped."""
    from stt_server.settings import load_settings

    given = {"host": host, "port": port, "model_path": model_path}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    from stt_server.web.serve import run  # after the settings: a mistake in them is said at once

    raise typer.Exit(run(settings))


@app.command()
def transcribe(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Audio files, or patterns like '*.wav'.")],
    response_format: Annotated[
        Literal["json", "text", "srt", "vtt", "verbose_json"], typer.Option("--format", "-f", help="What to write.")
    ] = "text",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", "-o", metavar="FOLDER", help="Write one file for each instead of standard output."
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="What is spoken; else it is guessed.")
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Times of words too, in verbose_json.")] = False,
    model_path: ModelPath = None,
) -> None:
    """Write down what is said in files. One that fails does not stop the others."""
    if words and response_format != "verbose_json":
        raise typer.BadParameter("only --format verbose_json has a place for them.", param_hint="--words")
    from stt_server.batch import transcribe_files

    raise typer.Exit(
        transcribe_files(
            files,
            response_format=response_format,
            output_dir=output_dir,
            language=language,
            words=words,
            model_path=model_path,
        )
    )


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="Model to fetch.  [default: parakeet-tdt-0.6b-v3]")] = "",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Where to put it.  [env: MODEL_PATH]")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of another or damaged model.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Show the models there are.")] = False,
) -> None:
    """Fetch a model, verified. Interrupted, the same command continues."""
    from stt_server.install import download_model, list_models

    if show:
        list_models()
    else:
        download_model(name, to, replace=replace)


@app.command()
def check(model_path: ModelPath = None) -> None:
    """See whether everything the server needs is there and works."""
    from stt_server.checkup import run_checks

    raise typer.Exit(run_checks(model_path))


@app.command()
def bench(
    model_path: ModelPath = None,
    speech: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Recordings with texts: count the errors too. call.wav and call.txt, or manifest.tsv.",
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A second model, to compare the errors of both.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="About so long is speed measured; 0: not at all.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure what this machine does with the model: speed, memory, and errors on recordings of yours."""
    if against and not speech:
        raise typer.BadParameter("there is nothing to compare without --speech.", param_hint="--against")
    from stt_server.bench.command import run_bench

    raise typer.Exit(run_bench(model_path=model_path, seconds=seconds, speech=speech, against=against, as_json=as_json))


if __name__ == "__main__":
    main()
