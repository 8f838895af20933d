"""Which page is read next."""
