"""The *Exporter* dashboard: is it well, what does it cost the platform, how late is it, its ledger."""

from grafana.src import queries as q
from grafana.src.board import Board, Row
from grafana.src.panels import Column, heatmap, lines, stacked, stat, table, timeline
from grafana.src.style import BAD, GOOD, IDLE, RUNNING, WARN

REQUESTS = "job_exporter_api_requests_total"
FAILURES = "job_exporter_api_request_failures_total"
REQUEST_TIME = "job_exporter_api_request_duration_seconds"
BYTES = "job_exporter_api_response_bytes_total"
POLLS = "job_exporter_polls_total"
LAST_POLL = "job_exporter_last_successful_poll_timestamp_seconds"
LAG = "job_exporter_count_lag_seconds"
INCOMPLETE = "job_exporter_records_incomplete_total"
UNKNOWN = "job_exporter_unknown_values_total"
OVERFLOW = "job_exporter_label_overflow_total"

UP_STEPS = ((None, BAD), (1, GOOD))
UP_TEXTS = {"1": ("UP", GOOD), "0": ("DOWN", BAD)}
# Four polls of the default interval; then five times the minute that polls back off to at most.
LATE_STEPS = ((None, GOOD), (60, WARN), (300, BAD))
ANY_STEPS = ((None, GOOD), (1, WARN))
DUTY = 0.1  # api.duty: the share of wall time that tail pages may take, by default


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="job-exporter-exporter",
        title="Job exporter",
        description="Is the exporter well, what does it cost the platform, how late does it count.",
        rows=(_health_at_a_glance(), _health(), *_cost(), _lag(), _ledger()),
    )


def _up() -> str:
    """Return `up` of our targets only: its own labels don't tell them from others of a job.

    Known within the hour counts, since a target that is down exposes nothing to know it by.
    """
    known = f"last_over_time({q.select('job_exporter_build_info')}[1h])"
    return f"{q.select('up')} and on (job, instance) {known}"


def _health_at_a_glance() -> Row:
    odd = (
        q.or_zero(q.total(q.increase(name)), q.total(q.increase(POLLS)))
        for name in (UNKNOWN, INCOMPLETE, OVERFLOW)
    )
    return Row(
        height=4,
        panels=(
            stat(
                "Replicas up",
                "Exporters that Prometheus can scrape now.",
                "locale",
                f"sum({_up()})",
                steps=UP_STEPS,
                no_value="not scraped",
            ),
            stat(
                "Platform",
                "Whether the last poll reached the job platform and understood it. If down, 'Failures "
                "by reason' below tells why.",
                "none",
                q.least(q.select("job_exporter_platform_up")),
                steps=UP_STEPS,
                texts=UP_TEXTS,
                no_value="not scraped",
            ),
            stat(
                "Since a good poll",
                "Time since the last poll that worked. All else on these dashboards is at least this old.",
                "s",
                q.age(LAST_POLL),
                steps=LATE_STEPS,
                no_value="never",
            ),
            stat(
                "Leaders",
                "Replicas that poll, for each scrape job. One is right. None: nobody polls. More: the "
                "fence of the ledger is all that guards the counts.",
                "locale",
                f"sum by (job) ({q.select('job_exporter_leader')})",
                steps=((None, BAD), (1, GOOD), (2, BAD)),
                no_value="not scraped",
                name="{{job}}",
            ),
            stat(
                "Catching up",
                "yes while records that finished during a downtime are being counted: rates and shares "
                "of now are partly those of then.",
                "none",
                f"max({q.select('job_exporter_catching_up')})",
                steps=ANY_STEPS,
                texts={"1": ("yes", WARN), "0": ("no", GOOD)},
                no_value="not scraped",
            ),
            stat(
                "Failed requests",
                "Requests to the platform that failed in the time shown.",
                "locale",
                q.or_zero(q.total(q.increase(FAILURES)), q.total(q.increase(REQUESTS))),
                steps=ANY_STEPS,
                decimals=0,
            ),
            stat(
                "Lag (p90)",
                "90 % of the records of the time shown were counted at most this long after they ended.",
                "s",
                f"histogram_quantile(0.9, {q.total(q.increase(f'{LAG}_bucket'), 'le')})",
                steps=LATE_STEPS,
                no_value="nothing ran",
            ),
            stat(
                "Not understood",
                "Values outside the documented ones, records counted incomplete, labels over their "
                "limit, in the time shown. See 'Ledger and data' below.",
                "locale",
                " + ".join(f"({part})" for part in odd),
                steps=ANY_STEPS,
                decimals=0,
            ),
        ),
    )


def _health() -> Row:
    return Row(
        title="Health",
        panels=(
            timeline(
                "Scraped",
                "Whether Prometheus could scrape each replica.",
                "none",
                {"{{instance}}": _up()},
                steps=UP_STEPS,
                texts=UP_TEXTS,
            ),
            timeline(
                "Platform reached",
                "Whether the last poll of each replica reached the platform and understood it.",
                "none",
                {"{{instance}}": q.select("job_exporter_platform_up")},
                steps=UP_STEPS,
                texts=UP_TEXTS,
            ),
            timeline(
                "Leader",
                "Which replica polled when. Exactly one bar should be blue at any time.",
                "none",
                {"{{instance}}": q.select("job_exporter_leader")},
                steps=((None, IDLE), (1, RUNNING)),
                texts={"1": ("leads", RUNNING), "0": ("follows", IDLE)},
            ),
            lines(
                "Polls",
                "Polls a minute, and those that failed. At the default interval of 15 s it is 4; fewer "
                "while it backs off.",
                "cpm",
                {"polls": q.per_minute(POLLS), "failed": q.per_minute("job_exporter_poll_failures_total")},
            ),
        ),
    )


def _cost() -> tuple[Row, Row]:
    spent = Row(
        title="Cost to the platform",
        panels=(
            stacked(
                "Requests",
                "Requests a second. page is the expensive one; record and result are look-ups by id, "
                "nearly free.",
                "reqps",
                {"{{endpoint}}": q.total(q.rate(REQUESTS), "endpoint")},
            ),
            stacked(
                "Bytes",
                "Bytes of the platform's answers, as they come over the wire.",
                "binBps",
                {"{{endpoint}}": q.total(q.rate(BYTES), "endpoint")},
            ),
            lines(
                "Time it works for us",
                "Seconds of request time a second. For page it is kept under the dashed line (api.duty, "
                "10 % by default); at the line tail pages are slow, and records are found late.",
                "percentunit",
                {"{{endpoint}}": q.total(q.rate(f"{REQUEST_TIME}_sum"), "endpoint")},
                steps=((None, GOOD), (DUTY, WARN)),
            ),
        ),
    )
    answers = Row(
        panels=(
            lines(
                "Failures by reason",
                "Failed requests a minute. connect, timeout: network or load; http, api: the platform "
                "says no; auth: credentials; decode, too_large: the answer.",
                "cpm",
                {"{{reason}}": q.per_minute(FAILURES, "reason")},
            ),
            lines(
                "Request duration (p90)",
                "90 % of the requests took at most this long.",
                "s",
                {"{{endpoint}}": q.quantile(0.9, REQUEST_TIME, "endpoint")},
            ),
            heatmap(
                "Request durations",
                "Requests a minute by duration, all endpoints.",
                "s",
                q.per_minute(f"{REQUEST_TIME}_bucket", "le"),
            ),
        ),
    )
    return spent, answers


def _lag() -> Row:
    return Row(
        title="Lag",
        panels=(
            lines(
                "Lag of counting",
                "From a record's end to its being counted. About a poll interval is the best there is; hosts "
                "that report late add up to poll.settle-grace.",
                "s",
                {"p50": q.quantile(0.5, LAG), "p90": q.quantile(0.9, LAG), "p99": q.quantile(0.99, LAG)},
            ),
            lines(
                "Waiting to be counted",
                "Records seen done whose host results are not complete yet. Growing without end: "
                "results can't be had, see 'Failures by reason'.",
                "locale",
                {"pending": q.total(q.select("job_exporter_pending_results"))},
            ),
            lines(
                "Duration of a poll",
                "How long the last poll took, and how old the last good one is.",
                "s",
                {
                    "last poll took": f"max({q.select('job_exporter_poll_duration_seconds')})",
                    "since a good poll": q.age(LAST_POLL),
                },
            ),
        ),
    )


def _ledger() -> Row:
    return Row(
        title="Ledger and data",
        panels=(
            lines(
                "Records in the ledger",
                "Records whose ids the ledger keeps so that none is counted twice. It levels off after "
                "state.retention.",
                "locale",
                {"records": q.total(q.select("job_exporter_ledger_records"))},
            ),
            lines(
                "Odd data",
                "A minute: records counted with something missing (by reason), values outside the documented "
                "ones (by field), labels over metrics.label-limit (by label).",
                "cpm",
                {
                    "{{reason}}": q.per_minute(INCOMPLETE, "reason"),
                    "unknown {{field}}": q.per_minute(UNKNOWN, "field"),
                    "overflow of {{label}}": q.per_minute(OVERFLOW, "label"),
                },
            ),
            lines(
                "Clock skew",
                "The platform's clock minus the exporter's. Lag and ages of open records are off by as much.",
                "s",
                {"{{instance}}": q.select("job_exporter_clock_skew_seconds")},
                below_zero=True,
            ),
            table(
                "Versions",
                "Version and Python of each replica. Two versions for longer than a roll-out is a stuck one.",
                [
                    Column(
                        expr=f"max by (instance, version, python) ({q.select('job_exporter_build_info')})",
                        head="Up",
                        unit="bool_yes_no",
                    )
                ],
                sort="Up",
                labels={"instance": "Replica", "version": "Version", "python": "Python"},
            ),
        ),
    )
