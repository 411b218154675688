"""Speech-to-text server: OpenAI's transcription API and a durable job queue over Parakeet TDT."""

from importlib.metadata import version

__version__ = version("stt-server")
