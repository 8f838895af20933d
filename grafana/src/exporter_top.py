"""The first screen of *Exporter*: is it well now, and what was odd in the time shown."""

from collections.abc import Sequence

from grafana.src import queries as q
from grafana.src.panels import PanelBuilder
from grafana.src.style import ANY, BAD, GOOD, IDLE, UP, WARN
from grafana.src.tiles import graded, stat

FAILURES = "job_exporter_api_request_failures_total"
POLLS = "job_exporter_polls_total"
LAST_POLL = "job_exporter_last_successful_poll_timestamp_seconds"
LAST_SWEEP = "job_exporter_last_sweep_timestamp_seconds"
LATE = "job_exporter_records_late_total"
UNREADABLE = "job_exporter_unreadable_records"
INCOMPLETE = "job_exporter_records_incomplete_total"
UNKNOWN = "job_exporter_unknown_values_total"
OVERFLOW = "job_exporter_label_overflow_total"


def up() -> str:
    """Return `up` of our targets only: its own labels don't tell them from others of a job.

    Known within the hour counts, since a target that is down exposes nothing to know it by.
    """
    known = f"last_over_time({q.select('job_exporter_build_info')}[1h])"
    return f"{q.select('up')} and on (job, instance) {known}"


def since(metric: str) -> str:
    """Return the seconds since a timestamp that is 0 where nothing happened yet."""
    return f"time() - min({q.once(q.select(metric))} > 0)"


def wrong() -> Sequence[PanelBuilder]:
    """Return the tiles that something judges."""
    return (
        stat(
            "Replicas up",
            "Exporters that Prometheus can scrape now.",
            "none",
            f"sum({up()})",
            steps=((None, IDLE), (0, BAD), (1, GOOD)),
            no_value="not scraped",
        ),
        stat(
            "Platform",
            "Whether the last poll reached the job platform and understood it. If down, 'Failures "
            "by reason' below tells why.",
            "none",
            q.least(q.select("job_exporter_platform_up")),
            texts=UP,
            no_value="not scraped",
        ),
        stat(
            "Last poll",
            "Time since the last poll that worked. All else on these dashboards is at least this old.",
            "dthms",
            graded(since(LAST_POLL), bad=q.threshold("poll_age:seconds")),
            no_value="none yet",
        ),
        stat(
            "Leaders",
            "Replicas that poll, for each scrape job. One is right. None: nobody polls. More: the "
            "fence of the ledger is all that guards the counts.",
            "none",
            f"sum by (job) ({q.select('job_exporter_leader')})",
            steps=((None, IDLE), (0, BAD), (1, GOOD), (2, BAD)),
            no_value="not scraped",
            name="{{job}}",
        ),
        stat(
            "Catching up",
            "yes while records that finished during a downtime are being counted: rates and shares "
            "of now are partly those of then.",
            "none",
            f"max({q.select('job_exporter_catching_up')})",
            texts={"1": ("yes", WARN), "0": ("no", GOOD)},
            no_value="not scraped",
        ),
        stat(
            "Unreadable",
            "Records that can't be read now. They are not counted until they can be; all others are.",
            "none",
            graded(q.while_up(q.total(q.select(UNREADABLE))), warn=q.threshold("unreadable:count")),
        ),
        stat(
            "Lag (p90)",
            "90 % of the records of the last 15 minutes were counted at most this long after they ended.",
            "dthms",
            graded(
                f"max({q.recorded('job:job_exporter_count_lag_seconds:quantile_rate15m')})",
                warn=q.threshold("count_lag:seconds"),
            ),
            no_value="nothing ran",
        ),
        stat(
            "Last sweep",
            "Time since the end of the last whole sweep, which finds what polls missed.",
            "dthms",
            graded(since(LAST_SWEEP), warn=q.threshold("sweep_age:seconds")),
            no_value="none yet",
        ),
    )


def figures() -> Sequence[PanelBuilder]:
    """Return the tiles of counts."""

    def within(metric: str) -> str:
        return q.or_zero(q.total(q.increase(metric)), q.total(q.increase(POLLS)))

    odd = " + ".join(f"({within(name)})" for name in (UNKNOWN, INCOMPLETE, OVERFLOW))
    return (
        stat(
            "Failed requests",
            "Requests to the platform that failed in the time shown.",
            "none",
            within(FAILURES),
            steps=ANY,
            decimals=0,
        ),
        stat(
            "Not understood",
            "Values outside the documented ones, records counted incomplete, labels over their "
            "limit, in the time shown. See 'Ledger and data' below.",
            "none",
            odd,
            steps=ANY,
            decimals=0,
        ),
        stat(
            "Found late",
            "Records of the time shown that only a sweep found: polls had missed them.",
            "none",
            within(LATE),
            steps=ANY,
            decimals=0,
        ),
        stat(
            "Hidden",
            "Records that the platform's total counts and no page shows. The Jobs dashboard judges them.",
            "none",
            q.total(q.select("job_records_hidden")),
        ),
        stat(
            "Waiting for hosts",
            "Finished records whose host results are not complete yet.",
            "none",
            q.total(q.select("job_exporter_pending_results")),
        ),
        stat(
            "Ledger records",
            "Records whose ids the ledger keeps so that none is counted twice.",
            "locale",
            q.total(q.select("job_exporter_ledger_records")),
        ),
    )
