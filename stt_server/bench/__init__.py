"""`stt-server bench`: how much audio this machine recognises a second, and how many words a model gets wrong."""
