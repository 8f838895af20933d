"""What an audit prints: tables that nothing from the platform can spoil, and JSON with stable keys."""

import io
import json
from collections import Counter
from typing import Any

from rich.console import Console

from exporter.audit.auditor import Audited, Tally
from exporter.audit.report import put
from exporter.audit.verdict import Kind, Seen, Terms, judge
from exporter.model import Clock, HostStatus, Record, Results
from exporter.settings.time_range import Window
from exporter.tracking.counting import Buckets, Counting
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.state import Known, LedgerStatus
from exporter.tracking.values import Rules, Stage, Tracked
from tests.harness.core import NOW, done, row, rows

TERMS = Terms(
    clock=Clock(now=NOW, wall=NOW, platform=NOW),
    rules=Rules(),
    counting_start=CountingStart(baseline_end=NOW, floor=NOW),
)
HOSTS = rows(row("a"), row("b", HostStatus.FAIL))
GONE = "8d7c4a56-ed9a-c2c6-9c44-9d1c60405eed"
BUCKETS = Buckets(duration=(1.0, 60.0), hosts=(1.0, 10.0), lag=(5.0,))


def known(record: Record, results: Results | None, **changes: Any) -> Known:
    counting = Counting(now=NOW, platform_now=NOW + 1.25, buckets=BUCKETS)
    usual = {
        "status": LedgerStatus.COUNTED,
        "found": NOW - 12,
        "settled": NOW + 2,
        "result": record.result_status,
        "start": record.start,
        "end": record.end,
        "lookups": 4,
        "done": NOW + 1,
        "moved": {part.series: float(part.value) for part in counting.record(record, results)},
    }
    return Known(id=record.id, **{**usual, **changes})


def audited(
    had: Known | None, record: Record | None, results: Results | None = None, id_: str = "r"
) -> Audited:
    seen = Seen(record=record, results=results)
    return Audited(id=id_, known=had, seen=seen, verdict=judge(had, seen, TERMS))


def printed(found: Audited | Tally, *, as_json: bool = False) -> str:
    out = io.StringIO()
    put(found, Console(file=out, width=200), as_json=as_json)
    return out.getvalue()


def lines(found: Audited | Tally) -> list[str]:
    """What is printed for people, blanks folded."""
    return [" ".join(line.split()) for line in printed(found).splitlines()]


def test_a_record_is_told_line_by_line() -> None:
    """The table of a record has its way through the ledger, the platform, its increments and the verdict."""
    told = lines(audited(known(done(), HOSTS), done(), HOSTS))
    assert told[:17] == [
        "ledger counted",
        "found 2027-01-15 07:59:48 UTC",
        "look-ups, at least 4",
        "first seen done 2027-01-15 08:00:01 UTC",
        "settled 2027-01-15 08:00:02 UTC",
        "result success",
        "start 2027-01-15 07:59:50 UTC",
        "end 2027-01-15 08:00:00 UTC",
        "platform known",
        "execute status done",
        "result success",
        "start 2027-01-15 07:59:50 UTC",
        "end 2027-01-15 08:00:00 UTC",
        "expected hosts not given",
        "hosts 2",
        "complete yes",
        'moved job_exporter_count_lag_seconds_bucket{le="5.0" and above} +1',
    ]
    assert 'job_record_duration_seconds_sum{result_status="success"} +10' in told
    assert "job_exporter_count_lag_seconds_sum +1.25" in told
    assert "job_records_discovered_total +1" in told
    assert told[-1] == "verdict same: a count made now would move the same series"


def test_a_change_is_told_with_what_would_move_now() -> None:
    """Below the verdict, each series that differs has both amounts."""
    told = lines(audited(known(done(), HOSTS), done(), rows(row("a"), row("b"))))
    at = next(number for number, line in enumerate(told) if line.startswith("verdict"))
    assert told[at] == "verdict changed after it was counted: a count made now would move other series"
    assert 'job_host_results_total{idc="杭州", status="success"}: counted 1, now 2' in told[at:]
    assert 'job_host_results_total{idc="杭州", status="fail"}: counted 1, now nothing' in told[at:]


def test_what_is_not_there_is_said() -> None:
    """The table says that a record is unknown, or that it is followed."""
    assert lines(audited(None, None))[:2] == ["ledger unknown", "platform unknown"]
    tracked = Tracked(id="r", found=NOW, due=NOW, stage=Stage.DOING, start=NOW, lookups=1)
    open_ = Known(id="r", status=LedgerStatus.OPEN, found=NOW, tracked=tracked, lookups=1)
    told = lines(audited(open_, done(end=None)))
    assert told[0] == "ledger open"
    assert "stage doing" in told
    assert "end not given" in told


def test_nothing_from_the_platform_spoils_the_terminal() -> None:
    """Ids and names of IDCs print neither control characters nor markup."""
    evil = "[red]\x1b]0;title\x07\x1b[31m\r\n\x85杭州"
    record = done(evil)
    told = printed(audited(known(record, rows(row("a", idc=evil))), record, rows(), id_=evil))
    tally = Tally(window=Window(begin=0.0, end=NOW))
    tally.add(audited(None, None, id_=evil))
    for text in (told, printed(tally)):
        assert all(sign.isprintable() or sign == "\n" for sign in text)
        assert "[red]" in text
        assert "杭州" in text
    machine = printed(
        audited(known(record, rows(row("a", idc=evil))), record, rows(), id_=evil), as_json=True
    )
    assert json.loads(machine)["id"] == evil
    assert machine.isascii()


def test_the_keys_of_a_record_are_stable() -> None:
    """The JSON of a record has the documented keys."""
    told = json.loads(printed(audited(known(done(), HOSTS), done(), rows(row("a"))), as_json=True))
    assert {key: told[key] for key in ("id", "state", "verdict", "finding")} == {
        "id": "r",
        "state": "counted",
        "verdict": "changed",
        "finding": True,
    }
    assert told["ledger"] == {
        "found": NOW - 12,
        "looks": 4,
        "stage": None,
        "done": NOW + 1,
        "settled": NOW + 2,
        "result": "success",
        "start": NOW - 10,
        "end": NOW,
    }
    assert told["platform"] == {
        "execute_status": "done",
        "result": "success",
        "start": NOW - 10,
        "end": NOW,
        "expected_hosts": None,
        "hosts": 1,
        "complete": True,
    }
    assert {"metric": "job_record_hosts", "labels": {}, "part": "bucket", "le": "10.0", "by": 1.0} in told[
        "moved"
    ]
    assert {"metric": "job_record_hosts", "labels": {}, "part": "sum", "by": 2.0} in told["moved"]
    assert {"metric": "job_record_hosts", "labels": {}, "moved": 2.0, "now": 1.0} in told["differences"]
    nobody = json.loads(printed(audited(None, None), as_json=True))
    assert (nobody["ledger"], nobody["platform"], nobody["verdict"]) == (None, None, "nowhere")


def test_a_window_is_told_with_its_findings_and_what_it_cannot_tell() -> None:
    """A window prints its findings, the records by verdict, and what could not be read."""
    tally = Tally(window=Window(begin=NOW - 3_600, end=NOW), reached=NOW - 7_200, hidden=3, behind=2)
    tally.add(audited(known(done(), HOSTS), done(), HOSTS))
    tally.add(audited(known(done(), HOSTS), None, id_=GONE))
    assert lines(tally) == [
        "records that ended after 2027-01-15 07:00:00 UTC and up to 2027-01-15 08:00:00 UTC",
        f"{GONE} unknown to the platform: it was counted, and the platform no longer knows it",
        "1 same",
        "1 unknown to the platform",
        "positions without a record, for example because it has no host rows: 3",
        "records that the daemon has not read yet: 2",
        "pages were read down to records that began 2027-01-15 06:00:00 UTC (--longest-run)",
    ]
    told = json.loads(printed(tally, as_json=True))
    assert (told["begin"], told["end"], told["unlisted_findings"]) == (NOW - 3_600, NOW, 0)
    assert told["records"] == {kind.name.lower(): 0 for kind in Kind} | {"same": 1, "gone": 1}
    assert [one["id"] for one in told["findings"]] == [GONE]
    assert told["pages_read_down_to"] == NOW - 7_200


def test_what_is_not_listed_is_counted() -> None:
    """Findings above the limit are counted in one line."""
    tally = Tally(window=Window(begin=0.0, end=NOW), judged=Counter({Kind.MISSING: 3}))
    tally.findings.append(audited(None, None))
    assert any(line.startswith("and 2 more") for line in lines(tally))
