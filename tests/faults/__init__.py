"""The promises of the server, each by doing the real thing to a real process over a real socket."""
