"""Processes of the benchmark: started, heard once, and ended by their own handle."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def child(
    *arguments: str | int,
    program: str = sys.executable,
    env: Mapping[str, str] | None = None,
    mute: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program (`-m module …` of Python by default) while the block lasts; `mute`: without its log."""
    process = subprocess.Popen(
        [program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if mute else None,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def heard(process: subprocess.Popen[str]) -> str:
    """Wait for the next line of a child. Raises RuntimeError if it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with status {process.wait()}")
    return line.strip()


@contextmanager
def canned(*, records: int, hosts: int, stdout_bytes: int = 0) -> Iterator[str]:
    """Run a platform of canned answers, and give its URL."""
    with child("-m", "tests.benchmarks.canned", records, hosts, stdout_bytes) as process:
        yield f"http://127.0.0.1:{heard(process)}"


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
