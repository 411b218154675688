"""OpenAI's own client, unmodified, against the real server with a small real model."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.assets import TINY_MODEL, needs_model
from tests.web.live import Live

pytestmark = needs_model
SAMPLES = TINY_MODEL / "samples"


def samples() -> dict[Path, str]:
    """Recordings that the small model is known to write down exactly."""
    lines = (SAMPLES / "transcripts.tsv").read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return {SAMPLES / row[0]: row[1] for row in rows if (SAMPLES / row[0]).is_file()}


@pytest.fixture(scope="module")
def sample() -> tuple[Path, str]:
    return next(iter(samples().items()))


@pytest.fixture(scope="module")
def client(real: Live) -> Iterator[OpenAI]:
    with OpenAI(api_key="any", base_url=f"{real.address}/v1", max_retries=0) as client:
        yield client


def test_json(client: OpenAI, sample: tuple[Path, str]) -> None:
    """The default answer is the exact text, and what it cost."""
    path, text = sample
    answer = client.audio.transcriptions.create(model="whisper-1", file=path)
    assert answer.text == text
    assert answer.usage
    assert answer.usage.type == "duration"
    assert answer._request_id
    assert answer._request_id.startswith("req_")


def test_all_samples_are_exact(client: OpenAI) -> None:
    """Nothing on the way through the server changes what the model hears."""
    for path, text in samples().items():
        assert client.audio.transcriptions.create(model="parakeet-tdt", file=path).text == text


def test_text_formats(client: OpenAI, sample: tuple[Path, str]) -> None:
    """`text`, `srt` and `vtt` arrive as the client's plain strings."""
    path, text = sample
    create = client.audio.transcriptions.create
    assert create(model="whisper-1", file=path, response_format="text") == text + "\n"
    assert create(model="whisper-1", file=path, response_format="srt").startswith("1\n00:00:00,")
    assert create(model="whisper-1", file=path, response_format="vtt").startswith("WEBVTT\n\n00:00:00.")


def test_verbose_json(client: OpenAI, sample: tuple[Path, str]) -> None:
    """Segments by default, words instead when only they are asked for, both when both are."""
    path, text = sample
    create = client.audio.transcriptions.create
    default = create(model="whisper-1", file=path, response_format="verbose_json")
    assert default.text == text
    assert default.duration > 0
    assert default.segments
    assert default.words is None
    words = create(
        model="whisper-1", file=path, response_format="verbose_json", timestamp_granularities=["word"], language="en"
    )
    assert words.segments is None
    assert words.words
    assert words.language == "english"
    assert all(word.start <= word.end <= words.duration + 0.1 for word in words.words)
    both = create(
        model="whisper-1", file=path, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert both.segments
    assert both.words


def test_logprobs(client: OpenAI, sample: tuple[Path, str]) -> None:
    """Every token with its probability, and together they are the text."""
    path, text = sample
    answer = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=path, include=["logprobs"])
    assert answer.logprobs
    assert "".join(token.token or "" for token in answer.logprobs).strip() == text
    assert all(token.logprob is not None and token.logprob <= 0 for token in answer.logprobs)


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe"])
def test_stream(client: OpenAI, sample: tuple[Path, str], model: str) -> None:
    """Deltas put together are the final text, for every model name."""
    path, text = sample
    with client.audio.transcriptions.create(model=model, file=path, stream=True, include=["logprobs"]) as stream:
        events = list(stream)
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == text
    done = [event for event in events if event.type == "transcript.text.done"]
    assert [event.text for event in done] == [text]
    assert done[0].logprobs
    assert events[-1] is done[0]


def test_bytes_without_a_name(client: OpenAI, sample: tuple[Path, str]) -> None:
    """Raw bytes and open files work as well as paths: the format is told by the bytes."""
    path, text = sample
    create = client.audio.transcriptions.create
    assert create(model="whisper-1", file=path.read_bytes()).text == text
    assert create(model="whisper-1", file=("wrong.mp3", path.read_bytes())).text == text
    with path.open("rb") as file:
        assert create(model="whisper-1", file=file, prompt="", temperature=0, stream=False).text == text


async def test_many_at_once(real: Live) -> None:
    """Calls that wait side by side each get their own text."""
    pairs = list(samples().items()) * 2
    async with AsyncOpenAI(api_key="any", base_url=f"{real.address}/v1", max_retries=0) as client:
        calls = [client.audio.transcriptions.create(model="whisper-1", file=path) for path, _ in pairs]
        answers = await asyncio.gather(*calls)
    assert [answer.text for answer in answers] == [text for _, text in pairs]


async def test_async_stream(real: Live, sample: tuple[Path, str]) -> None:
    """The asynchronous client reads the same stream."""
    path, text = sample
    async with AsyncOpenAI(api_key="any", base_url=f"{real.address}/v1", max_retries=0) as client:
        stream = await client.audio.transcriptions.create(model="whisper-1", file=path, stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == text


def test_models(client: OpenAI) -> None:
    """The list shows every usable id, each of which can be asked for."""
    ids = [model.id for model in client.models.list()]
    assert {"parakeet-tdt", "whisper-1"} <= set(ids)
    assert [client.models.retrieve(name).id for name in ids] == ids
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nvidia/parakeet")
    assert caught.value.code == "model_not_found"
    assert "nvidia/parakeet" in str(caught.value)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # what OpenAI says of its translations
def test_errors(client: OpenAI, sample: tuple[Path, str]) -> None:
    """What goes wrong becomes the client's own exception, with message, param, code and request id."""
    path, _ = sample
    create = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(model="whisper-1", file=b"hello, I am no audio at all")
    assert bad.value.type == "invalid_request_error"
    assert bad.value.code == "invalid_audio"
    assert bad.value.request_id
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="gpt-9", file=path)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as odd:
        create(model="whisper-1", file=path, response_format="yaml")  # type: ignore[call-overload]
    assert odd.value.param == "response_format"
    with pytest.raises(openai.BadRequestError) as translation:
        client.audio.translations.create(model="whisper-1", file=path)
    assert "translate" in translation.value.message


def test_diarization_is_refused(client: OpenAI, sample: tuple[Path, str]) -> None:
    """What cannot be done is said, not ignored."""
    path, _ = sample
    create = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="gpt-4o-transcribe-diarize", file=path, chunking_strategy="auto")
    assert caught.value.code == "unsupported_value"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="whisper-1", file=path, response_format="diarized_json")
    assert caught.value.param == "response_format"


def test_server_vad_is_accepted(client: OpenAI, sample: tuple[Path, str]) -> None:
    """The flattened chunking strategy of the SDKs, keywords and languages do no harm."""
    path, text = sample
    answer = client.audio.transcriptions.create(
        model="gpt-4o-transcribe",
        file=path,
        chunking_strategy={"type": "server_vad", "threshold": 0.4},
        extra_body={"keywords": ["Parakeet", "Wazo"], "languages": ["en"], "vad_filter": True},
    )
    assert answer.text == text


def test_the_raw_answer(client: OpenAI, sample: tuple[Path, str]) -> None:
    """The headers that users quote and proxies count are there."""
    raw = client.audio.transcriptions.with_raw_response.create(model="whisper-1", file=sample[0])
    assert raw.headers["openai-version"] == "2020-10-01"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.headers["content-type"] == "application/json"
    assert json.loads(raw.content)["text"] == sample[1]
