"""The *IDCs* dashboard: which data centre is sick, and is it the data centre or the job."""

from grafana.src import queries as q
from grafana.src.board import Board, Row, label_variable
from grafana.src.panels import lines, ranking, stacked, stat, timeline
from grafana.src.style import BAD, FAILURE_STEPS, GOOD, IDLE, SICK, WARN

HOSTS = "job_host_results_total"
RECORDS = "job_idc_records_total"
CHOSEN = 'idc=~"$idc"'
ONLY_THIS = (
    "/d/job-exporter-idcs?${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:que "
    "ryparam}&var-idc=${__field.labels.idc}"
)


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="job-exporter-idcs",
        title="Job IDCs",
        description="Which data centre is sick, beside the others: one is a place, all of them is a job.",
        rows=(_places_at_a_glance(), _compare(), _history(), _each()),
        variables=(
            label_variable(
                "idc",
                "IDC",
                HOSTS,
                f"{{{q.MATCHERS}}}",
                "Data centres to show. 'The others' in comparisons are always all the others.",
            ),
        ),
    )


def _ranked() -> str:
    return q.host_failure_share("idc", window=q.WHOLE_RANGE, matchers=(CHOSEN,))


def _places_at_a_glance() -> Row:
    judged = q.total(q.increase(HOSTS, q.JUDGED_HOSTS, CHOSEN))
    bad = q.total(q.increase(HOSTS, q.BAD_HOSTS, CHOSEN))
    silent = q.total(q.increase(HOSTS, 'status="unreported"', CHOSEN))
    failed = q.total(q.increase(RECORDS, 'outcome="failed"', CHOSEN))
    return Row(
        height=4,
        panels=(
            stat(
                "Sick IDCs",
                "IDCs where more than 30 % of the hosts went wrong in the time shown. One: look "
                "at the place. All: look at the job.",
                "locale",
                q.or_zero(f"count({_ranked()} > {SICK})", f"count({_ranked()})"),
                steps=((None, GOOD), (1, BAD)),
                no_value="nothing ran",
            ),
            stat(
                "Worst IDC",
                "The IDC with the greatest share of hosts that went wrong in the time shown.",
                "percentunit",
                f"topk(1, {_ranked()})",
                steps=FAILURE_STEPS,
                no_value="nothing ran",
                decimals=1,
                name="{{idc}}",
            ),
            stat(
                "Hosts that went wrong",
                "Share of host results of the time shown that failed, timed out or never came.",
                "percentunit",
                q.share(bad, judged),
                steps=FAILURE_STEPS,
                no_value="nothing ran",
                decimals=2,
            ),
            stat(
                "Unreported hosts",
                "Hosts of finished records that the platform never told about, in the time shown: an "
                "agent or a proxy of the IDC is likely gone.",
                "locale",
                q.or_zero(silent, judged),
                steps=((None, GOOD), (1, WARN)),
                decimals=0,
            ),
            stat(
                "Failed wholly",
                "Times that a record succeeded on no host of an IDC, in the time shown.",
                "locale",
                q.or_zero(failed, q.total(q.increase(RECORDS, CHOSEN))),
                steps=((None, GOOD), (1, WARN)),
                decimals=0,
            ),
            stat(
                "IDCs",
                "IDCs that host results came from so far; 'unknown' is one of them if hosts came "
                "without an IDC.",
                "locale",
                f"count({q.total(q.rate(HOSTS, CHOSEN), 'idc')})",
                steps=((None, IDLE),),
            ),
        ),
    )


def _compare() -> Row:
    here = q.host_failure_share("idc", matchers=(CHOSEN,))
    others = q.host_failure_share_elsewhere(matchers=(CHOSEN,))
    return Row(
        title="Which one",
        panels=(
            ranking(
                "Ranking",
                "Share of hosts that went wrong in the time shown, worst first. A click shows only that IDC.",
                "percentunit",
                {"{{idc}}": f"sort_desc({_ranked()})"},
                steps=FAILURE_STEPS,
                link=("Only this IDC", ONLY_THIS),
            ),
            lines(
                "Share of hosts that went wrong",
                "One line an IDC. One that leaves the others is a sick IDC; all rising together is a "
                "bad job.",
                "percentunit",
                {"{{idc}}": here},
                steps=FAILURE_STEPS,
            ),
            lines(
                "Worse than the others by",
                "Share of an IDC minus the share of all other IDCs together. Near zero: it fares like the "
                "others, whatever that is. Above the line: this place is the trouble.",
                "percentunit",
                {"{{idc}}": f"{here} - {others}"},
                steps=((None, GOOD), (SICK, BAD)),
                below_zero=True,
            ),
        ),
    )


def _history() -> Row:
    return Row(
        title="Since when",
        panels=(
            timeline(
                "State of each IDC",
                "Green: under 5 % of the hosts went wrong. Orange: 5 to 30 %. Red: more. Gap: no host "
                "result.",
                "percentunit",
                {"{{idc}}": q.host_failure_share("idc", matchers=(CHOSEN,))},
                steps=FAILURE_STEPS,
            ),
            stacked(
                "Hosts by IDC",
                "Host results a minute. An IDC that vanishes here gets no jobs, or gives no answers.",
                "cpm",
                {"{{idc}}": q.per_minute(HOSTS, "idc", matchers=(CHOSEN,))},
            ),
        ),
    )


def _each() -> Row:
    here = q.host_failure_share("idc", matchers=(CHOSEN,))
    others = q.host_failure_share_elsewhere(matchers=(CHOSEN,))
    return Row(
        title="IDC $idc",
        repeat="idc",
        panels=(
            stacked(
                "Hosts here by result",
                "Host results a minute in this IDC. A dot is one record that went wrong here.",
                "cpm",
                {"{{status}}": q.per_minute(HOSTS, "status", matchers=(CHOSEN,))},
                exemplars=True,
            ),
            lines(
                "This IDC against the others",
                "Share of hosts that went wrong here, and in all other IDCs together.",
                "percentunit",
                {"here": here, "the others": others},
                steps=FAILURE_STEPS,
            ),
            stacked(
                "Records here by outcome",
                "Finished records a minute that touched this IDC. clean: all its hosts succeeded; "
                "degraded: some did; failed: none did.",
                "cpm",
                {"{{outcome}}": q.per_minute(RECORDS, "outcome", matchers=(CHOSEN,))},
            ),
        ),
    )
