"""Unit tests of the Prometheus rules: one file a topic for `promtool test rules`, run by test_rules.py."""
