"""What clients may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in bytes."""

    connections: int = 512  # each holds up to 200 KB; the usual limit of open files is 1024
    head: float = 10.0  # a scraper sends its head in one packet; TLS over the slowest line takes under 2
    send: float = 60.0  # Prometheus gives up after 10 by default; at 4 Mbit/s a browser gets 30 MB
    idle: float = 120.0  # longer than a scrape interval of a minute, so that connections are used again
    buffer: int = 65536  # of a response, written and not sent yet
    line: int = 4096  # request line: the paths here are short
    header: int = 4096  # one header: credentials take 200, a browser's cookies more
    headers: int = 32  # a browser sends about 20
    stop: float = 0.5  # for a response in flight at shutdown; twice that in all
