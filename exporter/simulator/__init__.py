"""A job platform to play with: it knows the truth, and tells it. It imports nothing of the exporter."""
