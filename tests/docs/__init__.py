"""The documents, and the tables in them that are written from the code."""
