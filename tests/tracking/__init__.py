"""The life of a record and what it counts."""
