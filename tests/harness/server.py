"""A server of another project, run for the length of a block."""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Each starts within a second; a machine under load takes its time.
START = 60.0
STOP = 20.0


@contextmanager
def running(command: Sequence[str | Path], *, cwd: Path, log: Path, ready: Sequence[str]) -> Iterator[str]:
    """Run `command` until the block ends; give what the first pattern of `ready` captures in its log.

    The log is a file, not a pipe: nothing waits for a reader. Raises AssertionError with the end of the log
    if the server ends, or does not write all of `ready` within START seconds.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _wait(process, log, ready)
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", log: Path, ready: Sequence[str]) -> str:
    deadline = time.monotonic() + START
    while True:
        ended = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        found = [re.search(pattern, text) for pattern in ready]
        if found[0] and all(found):
            return found[0][1]
        assert not ended, f"{process.args!r} ended: {text[-2000:]}"
        assert time.monotonic() < deadline, f"{process.args!r} did not start: {text[-2000:]}"
        time.sleep(0.05)
