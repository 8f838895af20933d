"""Tests on the real servers: exporter, Prometheus, Alertmanager and a webhook that the test listens on."""
