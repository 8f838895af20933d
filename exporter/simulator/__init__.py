"""A job platform to play with: imports nothing of the exporter."""
