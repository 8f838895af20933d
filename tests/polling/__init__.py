"""Polls, their schedule, and replicas."""
