"""The *Jobs* dashboard: what is wrong, how jobs end, how long they take, what is open."""

from grafana.src import queries as q
from grafana.src.alerts import of_groups
from grafana.src.board import RECORD_URL, Board, Row, sized, text_variable, web_link
from grafana.src.charts import heatmap, lines, stacked
from grafana.src.jobs_top import FINISHED, HIDDEN, OLDEST, OPEN, UNREADABLE, work, wrong
from grafana.src.style import BAD, GOOD
from grafana.src.tables import Column, Label, firing, table

DURATION = "job_record_duration_seconds"
HOSTS = "job_host_results_total"
ALERTS = of_groups("job-success", "job-records")


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="job-exporter-jobs",
        title="Jobs",
        description="What is wrong on the job platform, how jobs end, how long they take, what is open.",
        rows=(_now(), _endings(), _durations(), _open(), _where()),
        alerts=ALERTS,
        variables=(
            text_variable("record_id", "Record id", "", "From an exemplar, an alert or a log line."),
            text_variable("record_url", "Record URL", RECORD_URL, "Prefix of a record's page.", hidden=True),
        ),
        links=(
            web_link(
                "Open record",
                "${record_url}${record_id}",
                "The record whose id stands in 'Record id'",
                icon="bolt",
            ),
        ),
    )


def _now() -> Row:
    return Row(
        panels=(
            *sized(3, 4, *wrong()),
            *sized(12, 7, firing(ALERTS)),
            *sized(4, 4, *work()[:3]),
            *sized(4, 3, *work()[3:]),
        )
    )


def _endings() -> Row:
    bad, slow = q.record_failure_share(), q.record_failure_share(bad='result_status="timeout"')
    recorded = {
        name: f"max({q.recorded(f'job:job_records_finished:{name}_ratio_increase15m')})"
        for name in ("failure", "timeout")
    }
    burn = {
        window: q.first_of(
            f"max({q.recorded(f'job:job_records_finished:failure_ratio_increase{window}')})",
            q.record_failure_share(window=window),
        )
        for window in ("1h", "6h")
    }
    allowed = q.threshold("burn_slow:ratio")
    return Row(
        title="How jobs end",
        panels=sized(
            8,
            8,
            stacked(
                "Finished by result",
                "Records finished a minute, by result. A dot is one record that went wrong: its menu opens"
                " it.",
                "cpm",
                {"{{result_status}}": q.occurring(FINISHED, "result_status")},
                exemplars=True,
            ),
            lines(
                "Share that went wrong",
                "Share of the finished records of 15 minutes that failed or timed out, and of timeouts "
                "alone. Dashed: what the objective allows.",
                "percentunit",
                {
                    "went wrong": q.first_of(recorded["failure"], bad),
                    "timeout": q.first_of(recorded["timeout"], slow),
                },
                limits={"allowed": q.limit("burn_slow:ratio")},
            ),
            lines(
                "Burn rates",
                "How many times faster than allowed the error budget is spent, over 1 hour and over 6 hours. "
                "Above 1 the objective is missed if it goes on.",
                "none",
                {
                    "1 h": f"({burn['1h']}) / {allowed}",
                    "6 h": f"({burn['6h']}) / {allowed}",
                },
                steps=((None, GOOD), (1, BAD)),
                at_least=2,
            ),
        ),
    )


def _quantile(level: float, *by: str) -> str:
    series = "job_result_status" if by else "job"
    recorded = q.recorded(f"{series}:{DURATION}:quantile_rate15m", f'quantile="{level}"')
    grouping = f" by ({', '.join(by)})" if by else ""
    return q.first_of(f"max{grouping} ({recorded})", q.quantile(level, DURATION, *by))


def _durations() -> Row:
    return Row(
        title="How long jobs take",
        panels=sized(
            8,
            8,
            lines(
                "Duration",
                "Half, 90 % and 99 % of the finished records of 15 minutes took at most this long. A dot "
                "is one record: its menu opens it.",
                "dthms",
                {"p50": _quantile(0.5), "p90": _quantile(0.9), "p99": _quantile(0.99)},
                at_least=10,
                exemplars=True,
            ),
            heatmap(
                "Durations",
                "Records a minute by duration: a second band is a second kind of job, a band at the top "
                "edge is jobs that run into their timeout. A dot is one record.",
                "s",
                q.per_minute(f"{DURATION}_bucket", "le"),
                exemplars=True,
            ),
            lines(
                "Duration by result (p90)",
                "90 % of the records of 15 minutes with this result took at most this long. Failures much "
                "shorter than successes point to a script or a connection, failures as long as the timeout"
                " to a hang.",
                "dthms",
                {"{{result_status}}": _quantile(0.9, "result_status")},
                at_least=10,
            ),
        ),
    )


def _open() -> Row:
    return Row(
        title="What is open",
        panels=sized(
            6,
            8,
            stacked(
                "Open by status",
                "Records waiting (init) and running (doing). Waiting that only grows: the platform "
                "takes no new work.",
                "none",
                {"{{execute_status}}": q.total(q.select("job_records", OPEN), "execute_status")},
                decimals=0,
            ),
            lines(
                "Oldest open by status",
                "How long the oldest record of each status has been open. A line that climbs and never "
                "falls is one record that never ends.",
                "dthms",
                {"{{execute_status}}": q.age(OLDEST, "execute_status")},
                at_least=60,
            ),
            lines(
                "Overdue and hidden",
                "Open records past their own timeout, records that no page shows, and records that can't "
                "be read.",
                "none",
                {
                    "overdue": q.total(q.select("job_records_overdue")),
                    "hidden": q.total(q.select(HIDDEN)),
                    "unreadable": q.total(q.select(UNREADABLE)),
                },
                at_least=2,
                decimals=0,
            ),
            lines(
                "Discovered, finished",
                "Records discovered and finished a minute. They go together; finished staying below "
                "discovered means that work piles up.",
                "cpm",
                {
                    "discovered": q.per_minute("job_records_discovered_total"),
                    "finished": q.per_minute(FINISHED),
                },
                at_least=1,
            ),
        ),
    )


def _where() -> Row:
    kind = ("provider", "script_type")
    finished = q.total(q.increase(FINISHED), *kind)
    return Row(
        title="Where it goes wrong",
        panels=(
            *sized(
                9,
                9,
                table(
                    "By provider and script type",
                    "Records of the time shown. A high share in one row and not in the others is that kind "
                    "of job; the same share everywhere is the platform.",
                    {
                        "provider": Label(head="Provider", width=90),
                        "script_type": Label(head="Script type", width=100),
                    },
                    [
                        Column(
                            expr=q.record_failure_share(*kind, window=q.WHOLE_RANGE),
                            head="Went wrong",
                            unit="percentunit",
                            width=116,
                            decimals=1,
                        ),
                        Column(expr=finished, head="Finished", unit="locale", width=90, decimals=0),
                    ],
                    sort=("Went wrong",),
                    no_value="nothing ran",
                ),
            ),
            *sized(
                8,
                9,
                stacked(
                    "Hosts by result",
                    "Host results a minute, all IDCs. unreported: the record ended and the platform never "
                    "told about the host. The IDCs dashboard splits it.",
                    "cpm",
                    {"{{status}}": q.occurring(HOSTS, "status")},
                    exemplars=True,
                ),
            ),
            *sized(
                7,
                9,
                lines(
                    "Hosts a record",
                    "Half and 99 % of the finished records of 15 minutes ran on at most this many hosts.",
                    "none",
                    {"p50": q.quantile(0.5, "job_record_hosts"), "p99": q.quantile(0.99, "job_record_hosts")},
                    at_least=2,
                    decimals=0,
                ),
            ),
        ),
    )
