"""How much audio a second, in how much memory: this server, and others that run the same model. See README.md."""
