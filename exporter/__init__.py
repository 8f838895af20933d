"""job-exporter: a Prometheus exporter for a job-execution platform."""

__version__ = "0.1.0"
