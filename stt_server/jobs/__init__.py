"""Jobs: everything that waits. Asynchronous; knows speech, not HTTP."""
