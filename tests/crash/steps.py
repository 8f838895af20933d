"""Commits of a ledger, each ended by SIGKILL at another of its system calls; a program of its own.

`python -m tests.crash.steps FOLDER` writes one line of JSON: at how many points a commit was killed, and how
often the next process found that it never began, or that it had ended. Linux only.

Between two system calls a process changes nothing that outlives it (the shared index of the write-ahead log
is made anew by whoever opens the ledger next), so these points stand for every instruction. The tracer stops
the child where it enters and where it leaves each call.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from exporter.discovery.tail import Tail
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes, Outcome, Settlement, Tracked
from tests.harness.core import NOW, done, series

TRACEME, SYSCALL = 0, 24  # requests of ptrace
FINISHED = series("job_records_finished_total", result_status="success", provider="salt", script_type="bash")
EMPTY = Changes(tail=Tail(total=1), counting_start=CountingStart(baseline_end=NOW, floor=NOW))
IDS = tuple(f"record {number}" for number in range(40))
ROUND = replace(
    EMPTY,
    tail=Tail(total=len(IDS)),
    found=tuple(Tracked(id=f"open {number}", found=NOW, due=NOW) for number in range(20)),
    settlements=tuple(
        Settlement(
            id=id_,
            outcome=Outcome.SETTLED,
            found=NOW,
            record=done(id_),
            increments=(Increment(series=FINISHED),),
        )
        for id_ in IDS
    ),
)
_libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request: int, pid: int = 0) -> None:
    """Call it without an address and data. Raises OSError."""
    if _libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def opened(path: Path) -> Ledger:
    """Open the ledger."""
    return Ledger(f"sqlite:///{path}", platform="http://platform.test", now=NOW, layout=Layout())


def commit(path: Path) -> None:
    """Be the child: open the ledger, stop, commit, stop."""
    ledger = opened(path)
    ptrace(TRACEME)
    os.kill(os.getpid(), signal.SIGSTOP)
    ledger.commit(ROUND, now=NOW)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)


def killed_at(path: Path, point: int) -> bool:
    """Kill a commit at this point of it; False: it has fewer."""
    child = os.fork()
    if not child:
        try:
            commit(path)
        finally:
            os._exit(1)
    os.waitpid(child, 0)  # before the commit
    ptrace(SYSCALL, child)
    for _ in range(point):
        _, status = os.waitpid(child, 0)
        if os.WSTOPSIG(status) == signal.SIGSTOP:  # after the commit
            break
        ptrace(SYSCALL, child)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def found(path: Path) -> str:
    """Say what the next process finds, and let it do the round again: then all counts once."""
    ledger = opened(path)
    state = ledger.state
    counted = sum(sample.value for sample in state.counters.values())
    facts = (int(counted), state.records, len(state.followed), state.tail.total)
    all_ = (len(IDS), len(IDS), 20, len(IDS))
    outcome = "never began" if facts == (0, 0, 0, 1) else "ended" if facts == all_ else str(facts)
    if outcome == "never began":
        ledger.commit(ROUND, now=NOW)
    ledger.commit(replace(ROUND, found=()), now=NOW)  # nothing of it counts again
    assert sum(sample.value for sample in ledger.state.counters.values()) == len(IDS)
    assert ledger.state.records == len(IDS)
    ledger.close()
    return outcome


def main(folder: Path) -> None:
    """Kill at the first point, the second, and so on, to the last."""
    template, path = folder / "template.db", folder / "ledger.db"
    ledger = opened(template)
    ledger.commit(EMPTY, now=NOW)
    ledger.close()
    outcomes = Counter[str]()
    point = 0
    while True:
        for name in ("ledger.db-wal", "ledger.db-shm", "ledger.db.lock"):
            (folder / name).unlink(missing_ok=True)
        shutil.copyfile(template, path)
        if not killed_at(path, point):
            break
        outcomes[found(path)] += 1
        point += 1
    sys.stdout.write(json.dumps({"points": point, "outcomes": outcomes}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
