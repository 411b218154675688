"""pico through its program pico2wave: fast, clear voices, one for each language; it tells nothing of times."""

import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile
from xml.sax.saxutils import escape

import soundfile

from training.synthesis.spoken import Spoken
from training.voices import Manner

_MEMORY = Path("/dev/shm")  # noqa: S108 - only for files of a random name


class Pico:
    """The program. Without a time limit, which a pause of the whole run would use up."""

    def speak(self, text: str, voice: str, manner: Manner) -> Spoken:
        """The text. Tags in it set speed and pitch, in per cent of the voice's own."""
        speed, pitch = round(100 * manner.speed), round(100 + 20 * manner.pitch)
        tagged = f'<speed level="{speed}"><pitch level="{pitch}">{escape(text)}</pitch></speed>'
        with NamedTemporaryFile(suffix=".wav", dir=_MEMORY if _MEMORY.is_dir() else None) as file:
            command = ["pico2wave", "-l", voice, "-w", file.name, tagged]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - a list, without a shell
            samples, rate = soundfile.read(file.name, dtype="float32")
        return Spoken.of(samples, rate)
