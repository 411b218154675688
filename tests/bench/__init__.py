"""`stt-server bench`."""
