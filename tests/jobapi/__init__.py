"""The client of the job API and its decoding."""
