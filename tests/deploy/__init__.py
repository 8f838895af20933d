"""The files of `deploy/`, the image and the lock files."""
