"""Speech-to-text server: OpenAI's transcription API and a durable job queue over Parakeet TDT."""

import os
from importlib.metadata import version

# ONNX Runtime 1.29 began to report to its maker which models are loaded on what machine. It asks before anything else
# is imported, here and in every child.
os.putenv("ORT_DISABLE_TELEMETRY", "1")

__version__ = version("stt-server")
