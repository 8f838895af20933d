"""The program as its own process on real sockets: killed, stopped, refused, and looked over for secrets."""
