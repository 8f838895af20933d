"""Bodies by the million into the decoders: `python -m tests.fuzz --help`."""
