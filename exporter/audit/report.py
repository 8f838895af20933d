"""Prints the result of an audit, as a table or as JSON."""

import json
import math
from collections.abc import Iterable
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
OTHER_STYLE = "yellow"
ID_WIDTH = 36  # a UUID is not wrapped, so that it can be copied


def put(found: Audited | Tally, console: Console, *, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        what = record_json(found) if isinstance(found, Audited) else window_json(found)
        console.print(json.dumps(what, indent=2), soft_wrap=True, highlight=False, markup=False)
    elif isinstance(found, Audited):
        _print_record(found, console)
    else:
        _print_window(found, console)


# -- JSON


def record_json(audited: Audited) -> dict[str, Any]:
    """One record: the verdict, what ledger and platform say about it, and what it moved."""
    return {
        **_verdict_json(audited),
        "ledger": _ledger_json(audited.known),
        "platform": _platform_json(audited.seen.record, audited.seen.results),
        "moved": [_series_json(series, value) for series, value in _moved(audited.known)],
    }


def window_json(tally: Tally) -> dict[str, Any]:
    """A window: its bounds, the number of records by verdict, and the findings."""
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
    part = {"part": series.part} if series.part in {"", "sum"} else {"part": "bucket", "le": series.part}
    return {
        "metric": series.family,
        "labels": dict(series.labels),
        **(part if series.part else {}),
        "by": value,
    }


# -- text


def _print_record(audited: Audited, console: Console) -> None:
    table = _table()
    moved = [_series_text(series, value) for series, value in _moved(audited.known)]
    for name, value in (
        *_ledger_lines(audited.known),
        *_platform_lines(audited.seen.record, audited.seen.results),
        *zip(["moved", *[""] * len(moved)], moved, strict=False),
    ):
        table.add_row(name, _plain(value))
    _add_verdict(table, Text("verdict"), audited.verdict)
    console.print(table)


def _print_window(tally: Tally, console: Console) -> None:
    lines = [f"records that ended after {shown(tally.window.begin)} and up to {shown(tally.window.end)}"]
    if unlisted := tally.wrong - len(tally.findings):
        lines.append(f"and {unlisted:,} more; the first {LISTED:,} are shown")
    lines += [f"{number:>9,}  {kind}" for kind in Kind if (number := tally.judged[kind])]
    if tally.hidden:
        lines.append(f"positions without a record, for example because it has no host rows: {tally.hidden:,}")
    if tally.behind:
        lines.append(f"records that the daemon has not read yet: {tally.behind:,}")
    if tally.reached is not None:
        lines.append(f"pages were read down to records that began {shown(tally.reached)} (--longest-run)")
    table = _table(ids=True)
    for one in tally.findings:
        _add_verdict(table, _plain(one.id), one.verdict)
    for number, line in enumerate(lines):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
        if not number and tally.findings:
            console.print(table)


def _ledger_lines(known: Known | None) -> Iterable[tuple[str, str]]:
    yield "ledger", str(known.status if known else LedgerStatus.UNKNOWN)
    if known is None:
        return
    yield "  found", shown(known.found)
    if known.lookups is not None:
        yield "  look-ups", f"at least {known.lookups}: a restart may forget some"
    if known.tracked is not None:
        yield "  stage", str(known.tracked.stage)
    if known.done is not None:
        yield "  first seen done", shown(known.done)
    if known.settled is not None:
        result = f" as {known.result or 'unknown'}" if known.status is LedgerStatus.COUNTED else ""
        yield "  settled", f"{shown(known.settled)}{result}"


def _platform_lines(record: Record | None, results: Results | None) -> Iterable[tuple[str, str]]:
    if record is None:
        yield "platform", "unknown"
        return
    done = record.execute_status is ExecuteStatus.DONE
    yield "platform", f"{record.execute_status}, {result_of(record)}" if done else str(record.execute_status)
    yield "  start", "none" if record.start is None else shown(record.start)
    if done:
        seconds = duration(record, platform_now=math.inf)
        took = "" if seconds is None else f", after {seconds:g} s"
        yield "  end", "none" if record.end is None else f"{shown(record.end)}{took}"
    if results is not None:
        expected = "not known" if record.expected_hosts is None else str(len(record.expected_hosts))
        yield "  hosts", f"{len({row.host_id for row in results.rows})}, expected: {expected}"


def _moved(known: Known | None) -> list[tuple[Series, float]]:
    """What a record moved, with its discovery, sorted by series."""
    if known is None:
        return []
    discovered = {DISCOVERED.series: DISCOVERED.value} if known.discovered else {}
    return sorted({**discovered, **(known.moved or {})}.items())


def _series_name(series: Series) -> str:
    labels = [f'{name}="{value}"' for name, value in series.labels]
    suffix = ""
    if series.part:
        suffix = "_sum" if series.part == "sum" else "_bucket"
        labels += [] if series.part == "sum" else [f'le="{series.part}" and above']
    return f"{series.family}{suffix}{'{' + ', '.join(labels) + '}' if labels else ''}"


def _series_text(series: Series, value: float) -> str:
    return f"{_series_name(series)}  +{_number(value)}"


def _difference_text(one: Difference) -> str:
    had, now = ("nothing" if value is None else _number(value) for value in (one.moved, one.now))
    return f"{_series_name(one.series)}: counted {had}, now {now}"


def _add_verdict(table: Table, name: Text, verdict: Verdict) -> None:
    style = STYLES.get(verdict.kind, OTHER_STYLE)
    table.add_row(name, Text.assemble((verdict.kind, style), ": ", _plain(verdict.why)))
    for one in verdict.differences:
        table.add_row("", _plain(_difference_text(one)))


def _plain(text: str) -> Text:
    """Replace unprintable characters: text from the platform may contain terminal escape codes."""
    return Text("".join(sign if sign.isprintable() else "\ufffd" for sign in text))


def _table(*, ids: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", min_width=ID_WIDTH if ids else None)
    table.add_column(overflow="fold")
    return table


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)
