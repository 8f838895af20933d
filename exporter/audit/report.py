"""Prints the result of an audit, as a table or as JSON."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.audit.auditor import LISTED, Audited, Tally
from exporter.audit.verdict import FINDINGS, Kind, Verdict
from exporter.model import ExecuteStatus, Series
from exporter.settings.time_range import shown
from exporter.tracking.counting import is_complete, result_of
from exporter.tracking.decision import DISCOVERED
from exporter.tracking.state import Known, LedgerStatus

STYLES = {Kind.SAME: "green", **dict.fromkeys(FINDINGS, "bold red")}
OTHER_STYLE = "yellow"
ID_WIDTH = 36  # a UUID is not wrapped, so that it can be copied
# How the table names keys of the JSON. A restart may forget some look-ups.
LABELS = {"looks": "look-ups, at least", "done": "first seen done"}


def put(found: Audited | Tally, console: Console, *, as_json: bool) -> None:
    """Print what was found."""
    what = record_json(found) if isinstance(found, Audited) else window_json(found)
    if as_json:
        console.print_json(data=what, ensure_ascii=True)
    elif isinstance(found, Audited):
        _print_record(found, what, console)
    else:
        _print_window(found, console)


# -- JSON


def record_json(audited: Audited) -> dict[str, Any]:
    """One record: the verdict, what ledger and platform say about it, and what it moved."""
    known, record, results = audited.known, audited.seen.record, audited.seen.results
    return {
        **_verdict_json(audited),
        "ledger": known
        and {
            "found": known.found,
            "looks": known.lookups,
            "stage": known.tracked and known.tracked.stage,
            "done": known.done,
            "settled": known.settled,
            "result": known.result,
            "start": known.start,
            "end": known.end,
        },
        "platform": record
        and {
            "execute_status": record.execute_status,
            "result": result_of(record) if record.execute_status is ExecuteStatus.DONE else None,
            "start": record.start,
            "end": record.end,
            "expected_hosts": None if record.expected_hosts is None else len(record.expected_hosts),
            "hosts": results and len({row.host_id for row in results.rows}),
            "complete": results and is_complete(record, results),
        },
        "moved": [
            {"metric": series.family, "labels": dict(series.labels), **_part(series), "by": value}
            for series, value in _moved(known)
        ],
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
        "state": known.status if known else LedgerStatus.UNKNOWN,
        "verdict": verdict.kind.name.lower(),
        "finding": verdict.is_finding,
        "why": verdict.why,
        "differences": [
            {"metric": series.family, "labels": dict(series.labels), "moved": moved, "now": now}
            for series, moved, now in verdict.differences
        ],
    }


def _part(series: Series) -> dict[str, str]:
    """The part of a histogram that a series is."""
    if series.part in {"", "sum"}:
        return {"part": "sum"} if series.part else {}
    return {"part": "bucket", "le": series.part}


def _moved(known: Known | None) -> list[tuple[Series, float]]:
    """What a record moved, with its discovery, sorted by series."""
    if known is None:
        return []
    discovered = {DISCOVERED.series: DISCOVERED.value} if known.discovered else {}
    return sorted({**discovered, **(known.moved or {})}.items())


# -- text


def _print_record(audited: Audited, told: dict[str, Any], console: Console) -> None:
    table = _table()
    table.add_row("ledger", told["state"])
    for name, value in (told["ledger"] or {}).items():
        if value is not None:
            table.add_row(f"  {LABELS.get(name, name)}", _plain(_value(value)))
    table.add_row("platform", "known" if told["platform"] else "unknown")
    for name, value in (told["platform"] or {}).items():
        table.add_row(f"  {name.replace('_', ' ')}", _plain(_value(value)))
    for number, (series, by) in enumerate(_moved(audited.known)):
        table.add_row("" if number else "moved", _plain(f"{_series_name(series)}  +{by:.15g}"))
    _add_verdict(table, Text("verdict"), audited.verdict)
    console.print(table)


def _value(value: str | float | bool | None) -> str:
    """A value of the JSON, in which only times are floats."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not given" if value is None else shown(value) if isinstance(value, float) else str(value)


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


def _series_name(series: Series) -> str:
    part = _part(series)
    labels = [f'{name}="{value}"' for name, value in series.labels]
    labels += [f'le="{part["le"]}" and above'] if "le" in part else []
    suffix = f"_{part['part']}" if part else ""
    return f"{series.family}{suffix}{'{' + ', '.join(labels) + '}' if labels else ''}"


def _add_verdict(table: Table, name: Text, verdict: Verdict) -> None:
    style = STYLES.get(verdict.kind, OTHER_STYLE)
    table.add_row(name, Text.assemble((verdict.kind, style), ": ", _plain(verdict.why)))
    for series, *amounts in verdict.differences:
        had, now = ("nothing" if value is None else f"{value:.15g}" for value in amounts)
        table.add_row("", _plain(f"{_series_name(series)}: counted {had}, now {now}"))


def _plain(text: str) -> Text:
    """Replace unprintable characters: text from the platform may contain terminal escape codes."""
    return Text("".join(sign if sign.isprintable() else "\ufffd" for sign in text))


def _table(*, ids: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", min_width=ID_WIDTH if ids else None)
    table.add_column(overflow="fold")
    return table
