"""The *Exporter* dashboard: is it well, what does it cost the platform, how late is it, its ledger."""

from collections.abc import Sequence

from grafana.src import queries as q
from grafana.src.alerts import of_groups
from grafana.src.board import Board, Row, Sized, sized
from grafana.src.charts import heatmap, lines, stacked, timeline
from grafana.src.exporter_top import (
    FAILURES,
    INCOMPLETE,
    LAST_POLL,
    LATE,
    OVERFLOW,
    POLLS,
    UNKNOWN,
    figures,
    since,
    up,
    wrong,
)
from grafana.src.panels import PanelBuilder
from grafana.src.style import IDLE, RUNNING, UP
from grafana.src.tables import Column, Label, firing, table

REQUESTS = "job_exporter_api_requests_total"
REQUEST_TIME = "job_exporter_api_request_duration_seconds"
BYTES = "job_exporter_api_response_bytes_total"
LAG = "job_exporter_count_lag_seconds"
ALERTS = of_groups("job-exporter-health", "job-exporter-counting")


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="job-exporter-exporter",
        title="Job exporter",
        description="Is the exporter well, what does it cost the platform, how late does it count.",
        rows=(_now(), _health(), _cost(), _lag(), _ledger()),
        alerts=ALERTS,
    )


def _now() -> Row:
    tiles = (*sized(4, 4, *figures()[:3]), *sized(4, 3, *figures()[3:]))
    return Row(panels=(*sized(3, 4, *wrong()), *sized(12, 7, firing(ALERTS)), *tiles))


def _health() -> Row:
    return Row(
        title="Health",
        panels=sized(
            6,
            7,
            timeline("Scraped", "Whether Prometheus could scrape each replica.", {"{{instance}}": up()}, UP),
            timeline(
                "Platform reached",
                "Whether the last poll of each replica reached the platform and understood it.",
                {"{{instance}}": q.select("job_exporter_platform_up")},
                UP,
            ),
            timeline(
                "Leader",
                "Which replica polled when. Exactly one bar should be blue at any time.",
                {"{{instance}}": q.select("job_exporter_leader")},
                {"1": ("leads", RUNNING), "0": ("follows", IDLE)},
            ),
            lines(
                "Polls",
                "Polls a minute, and those that failed. At the default interval of 15 s it is 4; fewer "
                "while it backs off.",
                "cpm",
                {"polls": q.per_minute(POLLS), "failed": q.per_minute("job_exporter_poll_failures_total")},
                at_least=5,
            ),
        ),
    )


def _cost() -> Row:
    return Row(
        title="Cost to the platform",
        panels=sized(
            8,
            8,
            stacked(
                "Requests",
                "Requests a minute. page is the expensive one; record and result are look-ups by id, "
                "nearly free.",
                "cpm",
                {"{{endpoint}}": q.per_minute(REQUESTS, "endpoint")},
            ),
            stacked(
                "Bytes",
                "Bytes of the platform's answers, as they come over the wire.",
                "binBps",
                {"{{endpoint}}": q.total(q.rate(BYTES), "endpoint")},
            ),
            lines(
                "Time it works for us",
                "Seconds of request time a second. The exporter keeps page below api.duty, 10 % by "
                "default. At that value tail pages are slow, and records are found late.",
                "percentunit",
                {"{{endpoint}}": q.total(q.rate(f"{REQUEST_TIME}_sum"), "endpoint")},
                at_least=0.1,
            ),
            lines(
                "Failures by reason",
                "Failed requests a minute. connect, timeout: network or load; http, api: the platform "
                "says no; auth: credentials; decode, too_large: the answer.",
                "cpm",
                {"{{reason}}": q.occurring(FAILURES, "reason")},
                at_least=1,
                right=True,
            ),
            lines(
                "Request duration (p90)",
                "90 % of the requests of 15 minutes took at most this long.",
                "s",
                {"{{endpoint}}": q.quantile(0.9, REQUEST_TIME, "endpoint")},
                at_least=0.01,
            ),
            heatmap(
                "Request durations",
                "Requests a minute by duration, all endpoints.",
                "s",
                q.per_minute(f"{REQUEST_TIME}_bucket", "le"),
            ),
        ),
    )


def _lag() -> Row:
    return Row(
        title="Lag",
        panels=sized(
            8,
            8,
            lines(
                "Lag of counting",
                "From a record's end to its being counted, over 15 minutes. About a poll interval is the "
                "best there is; hosts that report late add up to poll.settle-grace.",
                "dthms",
                {"p50": q.quantile(0.5, LAG), "p90": q.quantile(0.9, LAG), "p99": q.quantile(0.99, LAG)},
                limits={"limit of p90": q.limit("count_lag:seconds")},
            ),
            lines(
                "Waiting to be counted",
                "Records seen done whose host results are not complete yet. Growing without end: "
                "results can't be had, see 'Failures by reason'.",
                "locale",
                {"pending": q.total(q.select("job_exporter_pending_results"))},
                at_least=5,
                decimals=0,
            ),
            lines(
                "Duration of a poll",
                "How long the last poll took, and how old the last good one is.",
                "dthms",
                {
                    "last poll took": f"max({q.select('job_exporter_poll_duration_seconds')})",
                    "since a successful poll": since(LAST_POLL),
                },
                at_least=30,
            ),
        ),
    )


def _in_widths(widths: Sequence[int], *panels: PanelBuilder) -> Sequence[Sized]:
    return tuple(Sized(panel=panel, width=w, height=8) for w, panel in zip(widths, panels, strict=True))


def _ledger() -> Row:
    return Row(
        title="Ledger and data",
        panels=_in_widths(
            (5, 8, 4, 7),
            lines(
                "Records in the ledger",
                "Records whose ids the ledger keeps so that none is counted twice. It levels off after "
                "state.retention.",
                "short",
                {"records": q.total(q.select("job_exporter_ledger_records"))},
            ),
            lines(
                "Odd data",
                "A minute: records counted with something missing (by reason), values outside the "
                "documented ones (by field), labels over metrics.label-limit (by label), records that only"
                " a sweep found.",
                "cpm",
                {
                    "{{reason}}": q.occurring(INCOMPLETE, "reason"),
                    "unknown {{field}}": q.occurring(UNKNOWN, "field"),
                    "overflow of {{label}}": q.occurring(OVERFLOW, "label"),
                    "found late": q.per_minute(LATE),
                },
                at_least=1,
            ),
            lines(
                "Clock skew",
                "The platform's clock minus the exporter's. Average of 5 minutes. Lag and ages of open "
                "records are off by as much.",
                "s",
                {"{{instance}}": f"avg_over_time({q.select('job_exporter_clock_skew_seconds')}[5m])"},
                below_zero=True,
                at_least=5,  # the platform's clock is read in whole seconds: less is noise
            ),
            table(
                "Versions",
                "Version and Python of each replica. Two versions for longer than a roll-out is a stuck one.",
                {
                    "instance": Label(head="Replica", width=104),
                    "version": Label(head="Version", width=76),
                    "python": Label(head="Python", width=70),
                },
                [
                    Column(
                        expr=f"max by (instance, version, python) ({q.select('job_exporter_build_info')})",
                        head="Up",
                        unit="none",
                        width=50,
                    )
                ],
                sort=("Replica",),
                no_value="not scraped",
            ),
        ),
    )
