"""Prints the result of an audit, as a table or as JSON."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.audit.auditor import LISTED, Audited, Tally
from exporter.audit.verdict import FINDINGS, Difference, Kind, Verdict
from exporter.model import ExecuteStatus, Record, Results, Series
from exporter.settings.time_range import shown
from exporter.tracking.counting import duration, is_complete, result_of
from exporter.tracking.decision import DISCOVERED
from exporter.tracking.known import Known, LedgerStatus

STYLES = {Kind.SAME: "green", **dict.fromkeys(FINDINGS, "bold red")}
OTHERWISE = "yellow"
ID_WIDTH = 36  # a UUID stays in one piece, to be copied


def put(found: Audited | Tally, console: Console, *, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        what = record_json(found) if isinstance(found, Audited) else window_json(found)
        console.print(json.dumps(what, indent=2), soft_wrap=True, highlight=False, markup=False)
    elif isinstance(found, Audited):
        print_record(found, console)
    else:
        print_window(found, console)


def record_json(audited: Audited) -> dict[str, Any]:
    """One record: the verdict, what ledger and platform have of it, and what it moved."""
    return {
        **_verdict_json(audited),
        "ledger": _ledger_json(audited.known),
        "platform": _platform_json(audited.seen.record, audited.seen.results),
        "moved": [_series_json(series, value) for series, value in _moved(audited.known)],
    }


def window_json(tally: Tally) -> dict[str, Any]:
    """A window: its bounds, how many records were judged how, and the findings."""
    return {
        "begin": tally.window.begin,
        "end": tally.window.end,
        "records": {kind.name.lower(): tally.judged[kind] for kind in Kind},
        "findings": [_verdict_json(one) for one in tally.findings],
        "unlisted_findings": tally.wrong - len(tally.findings),
        "pages_read_down_to": tally.reached,
        "positions_without_record": tally.hidden,
        "records_not_read_yet": tally.behind,
    }


def print_record(audited: Audited, console: Console) -> None:
    """Print what either side has of one record, what it moved, and the verdict."""
    table = _table()
    lines = [*_ledger_lines(audited.known), *_platform_lines(audited.seen.record, audited.seen.results)]
    for name, value in (*lines, *_moved_lines(audited.known)):
        table.add_row(name, _plain(value))
    table.add_row("verdict", _verdict_text(audited.verdict))
    for line in _difference_lines(audited.verdict.differences):
        table.add_row("", _plain(line))
    console.print(table)


def _moved_lines(known: Known | None) -> Iterable[tuple[str, str]]:
    if known is not None and known.status is LedgerStatus.COUNTED and known.moved is None:
        yield "moved", "not kept: it was counted by a version before this was"
        return
    moved = [_series_text(series, value) for series, value in _moved(known)]
    yield from zip(["moved", *[""] * len(moved)], moved, strict=False)


def print_window(tally: Tally, console: Console) -> None:
    """Print the findings, how many records were judged how, and what was not looked at."""

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    tell(f"records that ended after {shown(tally.window.begin)} and by {shown(tally.window.end)}")
    if tally.findings:
        table = _table(ids=True)
        for one in tally.findings:
            table.add_row(_plain(one.id), _verdict_text(one.verdict))
            for line in _difference_lines(one.verdict.differences):
                table.add_row("", _plain(line))
        console.print(table)
    if tally.wrong > len(tally.findings):
        tell(f"and {tally.wrong - len(tally.findings):,} more; the first {LISTED:,} are shown")
    for kind in Kind:
        if number := tally.judged[kind]:
            tell(f"{number:>9,}  {kind}")
    for note in _notes(tally):
        tell(note)


def _notes(tally: Tally) -> Iterable[str]:
    """What an audit of a window can't tell."""
    if tally.hidden:
        yield (
            f"{tally.hidden:,} positions of the pages show no record: those without host rows are in no page"
        )
    if tally.behind:
        yield f"the daemon knows of {tally.behind:,} records that it has not read yet"
    if tally.reached is not None:
        yield f"what began before {shown(tally.reached)} was only looked for in the ledger (--longest-run)"


def _moved(known: Known | None) -> list[tuple[Series, float]]:
    """What a record moved, in the order of the series, its discovery too."""
    if known is None:
        return []
    discovered = {DISCOVERED.series: DISCOVERED.value} if known.discovered else {}
    return sorted({**discovered, **(known.moved or {})}.items())


def _verdict_json(audited: Audited) -> dict[str, Any]:
    known, verdict = audited.known, audited.verdict
    return {
        "id": audited.id,
        "state": str(known.status if known else LedgerStatus.UNKNOWN),
        "verdict": verdict.kind.name.lower(),
        "finding": verdict.is_finding,
        "why": verdict.why,
        "differences": [
            {
                "metric": one.series.family,
                "labels": dict(one.series.labels),
                "moved": one.moved,
                "now": one.now,
            }
            for one in verdict.differences
        ],
    }


def _ledger_json(known: Known | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "found": known.found,
        "looks": known.lookups,
        "stage": str(known.tracked.stage) if known.tracked else None,
        "done": known.done,
        "settled": known.settled,
        "result": known.result,
        "start": known.start,
        "end": known.end,
    }


def _platform_json(record: Record | None, results: Results | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "execute_status": str(record.execute_status),
        "result": str(result_of(record)) if record.execute_status is ExecuteStatus.DONE else None,
        "start": record.start,
        "end": record.end,
        "expected_hosts": None if record.expected_hosts is None else len(record.expected_hosts),
        "hosts": None if results is None else len({row.host_id for row in results.rows}),
        "complete": None if results is None else is_complete(record, results),
    }


def _series_json(series: Series, value: float) -> dict[str, Any]:
    part: Mapping[str, str] = {} if not series.part else {"part": "sum"}
    if series.part not in {"", "sum"}:
        part = {"part": "bucket", "le": series.part}
    return {"metric": series.family, "labels": dict(series.labels), **part, "by": value}


def _series_text(series: Series, value: float) -> str:
    labels = [f'{name}="{value_}"' for name, value_ in series.labels]
    suffix = ""
    if series.part:
        suffix = "_sum" if series.part == "sum" else "_bucket"
        labels += [] if series.part == "sum" else [f'le="{series.part}" and above']
    return f"{series.family}{suffix}{'{' + ', '.join(labels) + '}' if labels else ''}  +{_number(value)}"


def _difference_lines(differences: Iterable[Difference]) -> Iterable[str]:
    for one in differences:
        name = _series_text(one.series, 0.0).rpartition("  ")[0]
        had, now = ("nothing" if value is None else _number(value) for value in (one.moved, one.now))
        yield f"{name}: counted {had}, now {now}"


def _ledger_lines(known: Known | None) -> Iterable[tuple[str, str]]:
    yield "ledger", str(known.status if known else LedgerStatus.UNKNOWN)
    if known is None:
        return
    yield "  found", shown(known.found)
    if known.lookups is not None:
        yield "  looks", f"{known.lookups} at least: a restart may forget some"
    if known.tracked is not None:
        yield "  stage", str(known.tracked.stage)
    if known.done is not None:
        yield "  seen done", shown(known.done)
    if known.settled is not None:
        result = f" as {known.result or 'unknown'}" if known.status is LedgerStatus.COUNTED else ""
        yield "  settled", f"{shown(known.settled)}{result}"


def _platform_lines(record: Record | None, results: Results | None) -> Iterable[tuple[str, str]]:
    if record is None:
        yield "platform", "not known"
        return
    done = record.execute_status is ExecuteStatus.DONE
    yield "platform", f"{record.execute_status}, {result_of(record)}" if done else str(record.execute_status)
    yield "  start", "none" if record.start is None else shown(record.start)
    if done:
        seconds = duration(record, platform_now=math.inf)
        took = "" if seconds is None else f", after {seconds:g} s"
        yield "  end", "none" if record.end is None else f"{shown(record.end)}{took}"
    if results is not None:
        expected = "not told" if record.expected_hosts is None else str(len(record.expected_hosts))
        yield "  hosts", f"{len({row.host_id for row in results.rows})}, {expected} expected"


def _verdict_text(verdict: Verdict) -> Text:
    return Text.assemble((verdict.kind, STYLES.get(verdict.kind, OTHERWISE)), ": ", _plain(verdict.why))


def _plain(text: str) -> Text:
    """Replace unprintable characters: platform text may contain terminal escape codes."""
    return Text("".join(sign if sign.isprintable() else "\ufffd" for sign in text))


def _table(*, ids: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", min_width=ID_WIDTH if ids else None)
    table.add_column(overflow="fold")
    return table


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)
