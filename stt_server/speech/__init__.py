"""Speech: bytes and arrays in, nouns out. Synchronous; knows no HTTP, no database, no event loop."""
