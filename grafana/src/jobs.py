"""The *Jobs* dashboard: what runs, how it ends, how long it takes, what is overdue."""

from grafana.src import queries as q
from grafana.src.board import RECORD_URL, Board, Row, text_variable, web_link
from grafana.src.panels import Column, heatmap, lines, ranking, stacked, stat, table
from grafana.src.style import BAD, FAILURE_STEPS, GOOD, IDLE, RUNNING, SUCCESS_STEPS, WARN

FINISHED = "job_records_finished_total"
DURATION = "job_record_duration_seconds"
OLDEST = "job_record_oldest_open_start_timestamp_seconds"
LAST = "job_record_last_finished_timestamp_seconds"
HOSTS = "job_host_results_total"
OPEN = 'execute_status!="done"'
# An hour is longer than most jobs; six hours is the last bucket of durations.
AGE_STEPS = ((None, GOOD), (3600, WARN), (6 * 3600, BAD))


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="job-exporter-jobs",
        title="Jobs",
        description="What runs on the job platform, how it ends, how long it takes, and what is overdue.",
        rows=(_results_at_a_glance(), _endings(), _durations(), _open(), _where()),
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


def _results_at_a_glance() -> Row:
    finished = q.total(q.increase(FINISHED))
    bad = q.total(q.increase(FINISHED, q.BAD_RESULTS))
    return Row(
        height=4,
        panels=(
            stat(
                "Platform",
                "Whether the last poll reached the job platform and understood it. While it is down, "
                "the tiles of what is open show nothing, on purpose: see the Exporter dashboard.",
                "none",
                q.least(q.select("job_exporter_platform_up")),
                steps=((None, BAD), (1, GOOD)),
                texts={"1": ("UP", GOOD), "0": ("DOWN", BAD)},
                no_value="not scraped",
            ),
            stat(
                "Success",
                "Share of records that succeeded in the time shown, cancelled and unknown ones left out.",
                "percentunit",
                f"1 - {q.record_failure_share(window=q.WHOLE_RANGE)}",
                steps=SUCCESS_STEPS,
                no_value="nothing ran",
                decimals=2,
            ),
            stat(
                "Went wrong",
                "Records that ended in fail or timeout in the time shown. 'Where it goes "
                "wrong' below and the IDCs dashboard tell where.",
                "locale",
                q.or_zero(bad, finished),
                steps=((None, GOOD), (1, WARN)),
                decimals=0,
            ),
            stat(
                "Finished",
                "Records that ended in the time shown, however they ended.",
                "locale",
                finished,
                steps=((None, IDLE),),
                decimals=0,
            ),
            stat(
                "Open",
                "Records on the platform now that are not done: waiting (init) or running (doing).",
                "locale",
                q.total(q.select("job_records", OPEN)),
                steps=((None, RUNNING),),
                no_value="not known",
            ),
            stat(
                "Overdue",
                "Open records past their own timeout: the platform should have ended them. One is worth "
                "a look.",
                "locale",
                q.total(q.select("job_records_overdue")),
                steps=((None, GOOD), (1, WARN), (10, BAD)),
                no_value="not known",
            ),
            stat(
                "Oldest open",
                "How long the oldest open record has been open. Compare it with the longest job you expect.",
                "s",
                q.age(OLDEST),
                steps=AGE_STEPS,
                no_value="nothing open",
            ),
            stat(
                "Since a success",
                "Time since a record last succeeded. Long on a busy platform: nothing gets through.",
                "s",
                q.age(LAST, matchers=('result_status="success"',)),
                steps=AGE_STEPS,
                no_value="none yet",
            ),
        ),
    )


def _endings() -> Row:
    judged = q.total(q.rate(FINISHED, q.JUDGED_RESULTS))
    timeouts = q.total(q.rate(FINISHED, 'result_status="timeout"'))
    return Row(
        title="How it ends",
        panels=(
            stacked(
                "Finished by result",
                "Records finished a minute, by result. A dot is one record that went wrong: its menu "
                "opens it.",
                "cpm",
                {"{{result_status}}": q.per_minute(FINISHED, "result_status")},
                exemplars=True,
            ),
            lines(
                "Share that went wrong",
                "Share of finished records that failed or timed out, and of timeouts alone. Cancelled "
                "and unknown ones are left out.",
                "percentunit",
                {"went wrong": q.record_failure_share(), "timeout": q.share(timeouts, judged)},
                steps=FAILURE_STEPS,
            ),
            ranking(
                "Results",
                "Records by result in the time shown.",
                "locale",
                {"{{result_status}}": f"sort_desc({q.total(q.increase(FINISHED), 'result_status')})"},
                steps=((None, IDLE),),
            ),
        ),
    )


def _durations() -> Row:
    return Row(
        title="How long it takes",
        panels=(
            lines(
                "Duration",
                "Half, 90 % and 99 % of finished records took at most this long. A dot is one record: "
                "its menu opens it.",
                "s",
                {
                    "p50": q.quantile(0.5, DURATION),
                    "p90": q.quantile(0.9, DURATION),
                    "p99": q.quantile(0.99, DURATION),
                },
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
                "90 % of the records with this result took at most this long. Failures much shorter than "
                "successes point to a script or a connection, failures as long as the timeout to a hang.",
                "s",
                {"{{result_status}}": q.quantile(0.9, DURATION, "result_status")},
            ),
        ),
    )


def _open() -> Row:
    return Row(
        title="What is open",
        panels=(
            stacked(
                "Open by status",
                "Records waiting (init) and running (doing). Waiting that only grows: the platform "
                "takes no new work.",
                "locale",
                {"{{execute_status}}": q.total(q.select("job_records", OPEN), "execute_status")},
            ),
            lines(
                "Oldest open by status",
                "How long the oldest record of each status has been open. A line that climbs and never "
                "falls is one record that never ends.",
                "s",
                {"{{execute_status}}": q.age(OLDEST, "execute_status")},
            ),
            lines(
                "Overdue over time",
                "Open records past their own timeout and the exporter's grace.",
                "locale",
                {"overdue": q.total(q.select("job_records_overdue"))},
                steps=((None, GOOD), (1, WARN)),
            ),
            lines(
                "Discovered against finished",
                "Records discovered and finished a minute. They go together; finished staying below "
                "discovered means that work piles up.",
                "cpm",
                {
                    "discovered": q.per_minute("job_records_discovered_total"),
                    "finished": q.per_minute(FINISHED),
                },
            ),
        ),
    )


def _where() -> Row:
    kind = ("provider", "script_type")
    return Row(
        title="Where it goes wrong",
        panels=(
            table(
                "By provider and script type",
                "Records of the time shown. A high share in one line and not in the others is that kind "
                "of job; the same share everywhere is the platform.",
                [
                    Column(
                        expr=q.record_failure_share(*kind, window=q.WHOLE_RANGE),
                        head="Went wrong",
                        unit="percentunit",
                        steps=FAILURE_STEPS,
                    ),
                    Column(expr=q.total(q.increase(FINISHED), *kind), head="Finished", unit="locale"),
                ],
                sort="Went wrong",
                labels={"provider": "Provider", "script_type": "Script type"},
            ),
            stacked(
                "Hosts by result",
                "Host results a minute, all IDCs. unreported: the record ended and the platform never "
                "told about the host. The IDCs dashboard splits it.",
                "cpm",
                {"{{status}}": q.per_minute(HOSTS, "status")},
                exemplars=True,
            ),
            lines(
                "Hosts a record",
                "Half and 99 % of finished records ran on at most this many hosts.",
                "locale",
                {"p50": q.quantile(0.5, "job_record_hosts"), "p99": q.quantile(0.99, "job_record_hosts")},
            ),
        ),
    )
