"""Several packages together: the daemon in one process, without sockets or with them."""
