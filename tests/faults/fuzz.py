"""Mutated audio through the sniffer, the decode child and a live server.

A child that crashes is what children are for. A server that fails, a request that takes longer than twenty seconds,
a family of processes that grows by more than 400 MB: those are faults.

`python -m tests.faults.fuzz SECONDS SEED` fuzzes; a mutant is known by the seed and its number, and
`python -m tests.faults.fuzz --write SEED NUMBER FILE` writes it down.
"""

import asyncio
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from stt_server.errors import BadAudio, BadRequest, Internal
from stt_server.jobs.decoding import Decoder, DecoderDied
from stt_server.speech.sniff import CONTAINERS, SNIFF_BYTES, sniff
from tests.assets import ASSETS
from tests.faults.family import Memory
from tests.faults.server import FakeServer, launching
from tests.faults.wire import told
from tests.real.process import ROUTE
from tests.sounds import SAMPLE, speech_wav
from tests.speech import craft

LONGEST_SECS = 120.0
"""Of audio: a mutant that claims ten hours costs two minutes' worth."""
PATIENCE_SECS = 20.0
MOST_MB = 400.0
AT_ONCE = 2
OVER_HTTP = 4
"""Of so many mutants, one also goes through the live server."""
HONEST, HEARD = speech_wav(3), "w1 w2"
HEADER_BYTES = 600
SEED_BYTES = 400_000

MADE: dict[str, Callable[[], bytes]] = {
    "made.wav": SAMPLE.read_bytes,
    "made.g711.wav": lambda: craft.ffmpeg("wav", "pcm_mulaw", 8000),
    "made.flac": lambda: craft.ffmpeg("flac", "flac", 16_000),
    "made.ogg": lambda: craft.ffmpeg("ogg", "libopus", 48_000),
    "made.mp3": lambda: craft.ffmpeg("mp3", "libmp3lame", 16_000),
    "made.aac": lambda: craft.ffmpeg("adts", "aac", 16_000),
    "made.mp4": lambda: craft.ffmpeg("mp4", "aac", 16_000),
    "made.webm": lambda: craft.ffmpeg("webm", "libopus", 48_000),
    "made.mkv": lambda: craft.film("matroska", "aac"),
    "made.mov": lambda: craft.film("mov", "pcm_s16le"),
    "made.aiff": lambda: craft.ffmpeg("aiff", "pcm_s16be", 16_000),
    "made.caf": lambda: craft.ffmpeg("caf", "pcm_s16le", 16_000),
    "made.au": lambda: craft.ffmpeg("au", "pcm_mulaw", 8000),
    "made.wma": lambda: craft.ffmpeg("asf", "mp2", 44_100),
    "made.amr": lambda: craft.ffmpeg("amr", "libopencore_amrnb", 8000),
    "made.3gp": lambda: craft.ffmpeg("3gp", "libopencore_amrnb", 8000),
    "made.m4a": lambda: craft.ffmpeg("ipod", "alac", 16_000),
    "made.adpcm.wav": lambda: craft.ffmpeg("wav", "adpcm_ms", 8000),
    "made.gsm.wav": lambda: craft.sndfile(craft.tone(2, 8000), 8000, "WAV", "GSM610"),
    "made.ts": lambda: craft.ffmpeg("mpegts", "aac", 16_000),
    "made.mpeg": lambda: craft.ffmpeg("mpeg", "mp2", 16_000),
    "made.avi": lambda: craft.film("avi", "pcm_s16le"),
    "made.flv": lambda: craft.ffmpeg("flv", "nellymoser", 8000),
    "made.rifx": lambda: craft.sndfile(craft.tone(2, 16_000), 16_000, "WAV", "PCM_16", "BIG"),
    "made.24in4.wav": lambda: craft.wav(craft.pcm16(craft.tone(2, 16_000)) * 2, bits=24, block=4),
    "made.silence.flac": lambda: craft.silent_flac(60),
    "made.id3.mp3": lambda: craft.id3(2000) + craft.ffmpeg("mp3", "libmp3lame", 16_000),
}


@cache
def seeds() -> dict[str, bytes]:
    """Whole files, by name: made here, and where they are, other projects' awkward ones."""
    found = {name: make() for name, make in MADE.items()}
    folder = ASSETS / "formats"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix != ".tsv":
            found[path.name] = path.read_bytes()
    return {name: data[:SEED_BYTES] for name, data in found.items()}


# -- Mutants -------------------------------------------------------------------------------------------

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def mutant(seed: int, number: int) -> tuple[str, bytes]:
    """The mutant of this number: a file name and bytes. The same every time."""
    chance = random.Random(f"{seed}-{number}")
    name = chance.choice(sorted(seeds()))
    data = bytearray(seeds()[name])
    for _ in range(chance.choice((1, 1, 2, 3, 5, 10, 30))):
        chance.choice(MUTATIONS)(chance, data)
    if chance.random() < 0.1:
        name = f"x.{chance.choice([extension for kind in CONTAINERS.values() for extension in kind.extensions])}"
    return name, bytes(data)


def _place(chance: random.Random, data: bytearray) -> int:
    """Mostly in the header."""
    return chance.randrange(min(len(data), HEADER_BYTES) if chance.random() < 0.8 else len(data)) if data else 0


def _flip(chance: random.Random, data: bytearray) -> None:
    if data:
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _byte(chance: random.Random, data: bytearray) -> None:
    if data:
        data[_place(chance, data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _number(chance: random.Random, data: bytearray) -> None:
    """A field of some width, at an extreme."""
    width = chance.choice("BHIQ")
    value = chance.choice(EXTREMES) & (1 << 8 * struct.calcsize(width)) - 1
    field = struct.pack(chance.choice("<>") + width, value)
    place = _place(chance, data)
    data[place : place + len(field)] = field


def _cut(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    del data[place : place + chance.choice((1, 2, 4, 8, 100, 5000))]


def _break_off(chance: random.Random, data: bytearray) -> None:
    del data[_place(chance, data) + chance.choice((0, 12, 50, 3000)) :]


def _insert(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    data[place:place] = chance.choice((bytes(4), b"\xff" * 4, chance.randbytes(16), bytes(5000)))


def _repeat(chance: random.Random, data: bytearray) -> None:
    """A stretch of it again, often."""
    place, length = _place(chance, data), chance.choice((4, 16, 200, 4000))
    data[place:place] = data[place : place + length] * chance.choice((1, 2, 50))


def _transplant(chance: random.Random, data: bytearray) -> None:
    """The head of another file, or its body."""
    other = seeds()[chance.choice(sorted(seeds()))]
    place, length = _place(chance, data), chance.choice((16, 200, 4000, 50_000))
    if chance.random() < 0.5:
        data[:place] = other[:length]
    else:
        data[place:] = other[_place(chance, bytearray(other)) :][:length]


MUTATIONS = (_flip, _flip, _byte, _byte, _number, _number, _number, _cut, _break_off, _insert, _repeat, _transplant)


# -- Runs ----------------------------------------------------------------------------------------------


class Campaign:
    """Counts what comes out."""

    def __init__(self, seed: int, seconds: float, folder: Path, server: FakeServer) -> None:
        self.outcomes: Counter[str] = Counter()
        self.over_http: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest = 0.0
        self.mutants = 0
        self._seed = seed
        self._end = time.monotonic() + seconds
        self._folder = folder
        self._server = server
        self._decoder = Decoder(max_duration=LONGEST_SECS)

    async def run(self) -> None:
        """Until the time is over."""
        async with httpx.AsyncClient(base_url=self._server.http.base_url, timeout=60, trust_env=False) as client:
            await self._decoder.warm_up()
            try:
                await asyncio.gather(*(self._work(client) for _ in range(AT_ONCE)))
            finally:
                await self._decoder.close()

    async def _work(self, client: httpx.AsyncClient) -> None:
        while time.monotonic() < self._end:
            number, self.mutants = self.mutants, self.mutants + 1
            name, data = mutant(self._seed, number)
            await self._timed(number, self._decode, name, data)
            if number % OVER_HTTP == 0:
                await self._timed(number, self._send, name, data, client)

    async def _timed(self, number: int, work: Callable[..., Any], *args: object) -> None:
        began = time.monotonic()
        try:
            if fault := await work(*args):
                self._blame(number, fault)
        except Exception as error:
            self._blame(number, repr(error))
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took)
        if took > PATIENCE_SECS:
            self._blame(number, f"took {took:.1f} s")

    def _blame(self, number: int, fault: str) -> None:
        self.faults.append(f"mutant {number}: {fault}")

    async def _decode(self, name: str, data: bytes) -> str | None:
        try:
            container = sniff(data[:SNIFF_BYTES], name)
        except BadAudio:
            self.outcomes["not recognised"] += 1
            return None
        audio, pcm = (self._folder / f"{self.mutants}-{id(data)}.{kind}" for kind in ("audio", "pcm"))
        audio.write_bytes(data)
        try:
            async for _ in self._decoder.decode(audio, container, pcm):
                pass
            self.outcomes["decoded"] += 1
        except Internal:
            self.outcomes["our fault"] += 1
            return f"our fault, as {container}"
        except DecoderDied:
            self.outcomes["child died"] += 1
        except BadRequest as error:
            self.outcomes[error.code] += 1
        finally:
            audio.unlink()
            pcm.unlink(missing_ok=True)
        return None

    async def _send(self, name: str, data: bytes, client: httpx.AsyncClient) -> str | None:
        answer = await client.post(ROUTE, files={"file": (name, data)})
        code = told(answer)
        self.over_http[code or "transcribed"] += 1
        return None if answer.status_code in (200, 400) else f"answered {answer.status_code}: {answer.text}"


def campaign(seconds: float, seed: int) -> dict[str, object]:
    """Fuzz for so long, in this process. What came out."""
    with tempfile.TemporaryDirectory() as folder, launching() as launcher:
        longest = str(LONGEST_SECS)
        server = FakeServer(launcher, Path(folder), own_forkserver=True, MAX_AUDIO_DURATION_SECS=longest)
        with server:
            server.ready()
            server.http.post(ROUTE, files={"file": HONEST})
            seeds()
            run = Campaign(seed, seconds, Path(folder), server)
            with Memory(server.pid) as memory:
                asyncio.run(run.run())
            if memory.peak_mb > MOST_MB:
                run.faults.append(f"the server's family grew by {memory.peak_mb:.0f} MB")
            last = server.http.post(ROUTE, files={"file": HONEST})
            if not server.alive or last.json().get("text") != HEARD or "Traceback" in server.log:
                run.faults.append("the server has suffered:\n" + server.log[-2000:])
    return {
        "seed": seed,
        "seconds": seconds,
        "mutants": run.mutants,
        "through the child": dict(run.outcomes.most_common()),
        "through the server": dict(run.over_http.most_common()),
        "slowest_secs": round(run.slowest, 2),
        "grown_mb": round(memory.peak_mb),
        "faults": run.faults,
    }


def fuzz(seconds: float, seed: int) -> dict[str, object]:
    """Fuzz for so long. What came out; `faults` must be empty."""
    # In a process whose main module is nothing: every decode child imports that of its parent.
    code = f"import json; from tests.faults.fuzz import campaign; print(json.dumps(campaign({seconds}, {seed})))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, object] = json.loads(done.stdout)
    return report


def main(*arguments: str) -> int:
    """From the command line."""
    if arguments[:1] == ("--write",):
        seed, number, file = arguments[1:]
        name, data = mutant(int(seed), int(number))
        Path(file).write_bytes(data)
        print(f"{name}: {len(data)} bytes")
        return 0
    seconds, seed = arguments
    report = fuzz(float(seconds), int(seed))
    print(json.dumps(report, indent=2))
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
