"""The suite that passes with a bug planted is not done: each of these bugs makes the named tests fail.

A copy of the package gets one change, and the tests that must notice run against the copy.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The named tests, quick ones; what the machine of test_machine.py finds beyond them takes it minutes.
CORE = (
    *("tests/system/test_exactly_once.py", "tests/system/test_traps.py", "tests/system/test_core_rules.py"),
    *(
        "tests/discovery/test_tail.py",
        "tests/discovery/test_gaps.py",
        "tests/tracking/test_tracker.py",
        "tests/tracking/test_counting.py",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A bug: in `file`, `old` (found once) becomes `new`, and so on for `more`; `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    more: tuple[tuple[str, str], ...] = ()
    tests: tuple[str, ...] = CORE


MUTANTS = (
    Mutant(
        name="the cursor moves past a late row",
        file="discovery/gaps.py",
        old="    return gap.missing > gap.empty_positions or is_lowest_new\n",
        new="    return False\n",
    ),
    Mutant(
        name="records without rows are not looked at again",
        file="discovery/gaps.py",
        old="if _held(gap, now) or not (gap.missing or (gap.empty_positions and not gap.is_check)):",
        new="if True:",
    ),
    Mutant(
        name="ties are ignored",
        file="discovery/reading.py",
        old="new = [item for item in page.items if item.id not in known]",
        new="new = [item for item in page.items if item.id not in known and item.start not in"
        " {other.start for other in page.items if other.id in known}]",
    ),
    Mutant(
        name="dedupe in memory only",
        file="ledger/state.py",
        old="{row.id: row.outcome for rows in chunked(connection, _OUTCOMES, ids) for row in rows}",
        new="{}",
        more=(
            (
                "    insert(connection, settled, rows)\n",
                '    insert(connection, settled, rows, existing="skip")\n',
            ),
        ),
    ),
    Mutant(
        name="increments outside the transaction",
        file="ledger/state.py",
        old="    insert(connection, settled, rows)\n",
        new="    insert(connection, settled, rows)\n    connection.commit()\n",
    ),
    Mutant(
        name="memory is replaced before the commit has ended",
        file="ledger/ledger.py",
        old="wall=now, time=self.time())\n        self.state = state\n        return state\n",
        new="wall=now, time=self.time())\n            self.state = state\n        return state\n",
    ),
    Mutant(
        name="memory moves on before the commit",
        file="polling/poller.py",
        old="        await self._keeper.commit(changes)\n        self._advance(changes.tail)\n",
        new="        self._advance(changes.tail)\n        await self._keeper.commit(changes)\n",
        tests=("tests/system/test_exactly_once.py",),
    ),
    Mutant(
        name="open records are forgotten when they leave the tail",
        file="tracking/lookups.py",
        old="        if item.due <= soon:\n",
        new="        if item.due <= soon and now < item.found + 60:\n",
    ),
    Mutant(
        name="a record settles before its hosts",
        file="tracking/settling.py",
        old="    return seen_twice and shows_all and is_late\n",
        new="    return True\n",
    ),
    Mutant(
        name="an older answer replaces a newer one",
        file="tracking/settling.py",
        old="    return known if is_older or lost_result else answer\n",
        new="    return answer\n",
    ),
    Mutant(
        name="whatever fails is the fault of a record",
        file="polling/fetch.py",
        old="        fetched.lost = failure\n",
        new="        del failure\n",
        tests=("tests/polling/test_fetch.py",),
    ),
    Mutant(
        name="the rest of a gap starves behind wider ones",
        file="discovery/choosing.py",
        old="return now - gap.due if now - gap.due > PATIENCE else 0.0",
        new="return 0.0",
    ),
    Mutant(
        name="the baseline counts",
        file="tracking/tracker.py",
        old="    return end <= tracked.baseline_end or end > clock.platform + ahead",
        new="    return False",
    ),
    Mutant(
        name="a host counts once a row",
        file="tracking/counting.py",
        old='key = row.host_id or f"\\0row {number}"',
        new='key = f"\\0row {number}"',
    ),
    Mutant(
        name="an escaped backslash hides the end of an output",
        file="jobapi/json_filter.py",
        old='masked = data.replace(rb"\\\\", b"..").replace(rb"\\"", b"..")',
        new='masked = data.replace(rb"\\"", b"..")',
        tests=("tests/jobapi/test_json_filter.py",),
    ),
    Mutant(
        name="no series is held",
        file="metrics/collector.py",
        old="            if until > time:\n",
        new="            if False:\n",
        tests=("tests/metrics/test_hold.py",),
    ),
    Mutant(
        name="an IDC is born without its other statuses",
        file="metrics/families.py",
        old='        case "job_host_results_total" | "job_idc_records_total":',
        new='        case "nothing":',
        tests=("tests/metrics/test_families.py",),
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    """The tests named fail on a copy with the bug, and the bug is one change of the code as it is."""
    for folder in ("exporter", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "exporter" / mutant.file
    text = path.read_text(encoding="utf-8")
    for old, new in ((mutant.old, mutant.new), *mutant.more):
        assert text.count(old) == 1, "the code has moved on: plant the bug anew"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTEST"))}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *mutant.tests,
        ],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, f"exit {done.returncode}: {done.stdout[-2000:]}{done.stderr[-1000:]}"
    assert "1 failed" in done.stdout
