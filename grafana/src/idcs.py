"""The *IDCs* dashboard: which data centre is sick, and is it the data centre or the job."""

from collections.abc import Sequence

from grafana.src import queries as q
from grafana.src.alerts import of_groups
from grafana.src.board import FILTERS, Board, Row, label_variable, sized
from grafana.src.charts import lines, stacked, timeline
from grafana.src.panels import PanelBuilder
from grafana.src.style import BAD, GOOD, IDLE, STATES
from grafana.src.tables import Column, Label, firing, table
from grafana.src.tiles import graded, stat

HOSTS = "job_host_results_total"
RECORDS = "job_idc_records_total"
CHOSEN = 'idc=~"$idc"'
PLACES = q.PLACES
NO_PLACES = 'idc=~"unknown|other"'
BY = ("job", "idc")
ALERTS = of_groups("job-idcs")
SHOWN = 10  # lines that can be told apart
FIRST = 3  # Grafana sorts the answer of a query by name: the first few come from queries of their own
ONLY_THIS = (
    "Only this IDC",
    f"/d/job-exporter-idcs?{FILTERS}&var-idc=${{__value.raw:percentencode}}",
)


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="job-exporter-idcs",
        title="Job IDCs",
        description="Which data centre is sick, beside the others: one is a place, all of them is a job.",
        rows=(_now(), _history(), _hosts(), _chosen()),
        alerts=ALERTS,
        variables=(
            label_variable(
                "idc",
                "IDC",
                HOSTS,
                f"{{{q.MATCHERS}, {PLACES}}}",
                "Data centres to show. 'The others' in comparisons are always all the others.",
            ),
        ),
    )


def _of_each(series: str) -> str:
    """Return a recorded series of each chosen place."""
    return f"max by (job, idc) ({q.recorded(series, CHOSEN, PLACES)})"


def _share() -> str:
    """Return the share of hosts that went wrong in each chosen place, as the alerts see it."""
    counted = q.host_failure_share(*BY, matchers=(CHOSEN, PLACES))
    return q.first_of(_of_each("job_idc:job_host_results:failure_ratio_increase15m"), counted)


def _state() -> str:
    """Return the state of each chosen place, see `STATES`; from the counters without what alerts add."""
    records = q.total(q.increase(RECORDS, CHOSEN, PLACES, window=q.JUDGING), *BY)
    enough = f"{records} >= {q.threshold('min_idc_records:count')}"
    judged = f"({q.host_failure_share(*BY, matchers=(CHOSEN, PLACES))} and {enough})"
    failing = f"4 + 0 * ({judged} > {q.threshold('idc_failing:ratio')})"
    over = f"2 + 0 * ({judged} > {q.threshold('burn_slow:ratio')})"
    return q.first_of(_of_each("job_idc:idc:state"), f"{failing} or {over} or 1 + 0 * {judged}")


def _sick_now() -> str:
    return f"(max by (job, idc) ({q.recorded('job_idc:idc:state', CHOSEN)} @ end()) >= 3)"


def _worst(count: int = SHOWN) -> str:
    """Return the `count` places with the greatest share of hosts that went wrong in the time shown."""
    bad, judged = (
        q.total(q.increase(HOSTS, status, CHOSEN, PLACES, at_end=True), *BY)
        for status in (q.BAD_HOSTS, q.JUDGED_HOSTS)
    )
    return f"topk({count}, {q.share(bad, judged)})"


def _now() -> Row:
    return Row(
        panels=(
            *sized(4, 4, *_tiles()),
            *sized(13, 13, _table()),
            *sized(11, 13, firing(ALERTS, places=True)),
        )
    )


def _tiles() -> Sequence[PanelBuilder]:
    state = _of_each("job_idc:idc:state")
    judged = _of_each("job_idc:idc_judged:failure_ratio_increase15m")
    bad, all_judged = (
        f"sum({q.recorded(f'job_idc:job_host_results_{kind}:increase15m', CHOSEN, PLACES)})"
        for kind in ("bad", "judged")
    )
    silent = q.recorded("job_idc_status:job_host_results:increase15m", CHOSEN, PLACES, 'status="unreported"')
    wholly = q.recorded("job_idc_outcome:job_idc_records:increase15m", CHOSEN, PLACES, 'outcome="failed"')
    lost = q.recorded("job_idc:job_host_results_judged:increase15m", NO_PLACES)
    anywhere = q.recorded("job_idc:job_host_results_judged:increase15m")
    return (
        stat(
            "Sick IDCs",
            "IDCs whose hosts fail now, or whose alert still fires. One: look at the place. All: look at the "
            "job.",
            "none",
            f"count({state} >= 3) or 0 * count({state})",
            steps=((None, IDLE), (0, GOOD), (1, BAD)),
            no_value="few records",
        ),
        stat(
            "Worst IDC",
            "The IDC with the greatest share of hosts that went wrong in the last 15 minutes, among those "
            "with enough records to judge. Red: above the limit of the alert.",
            "percentunit",
            graded(
                f"topk(1, {judged})",
                warn=q.threshold("burn_slow:ratio"),
                bad=q.threshold("idc_failing:ratio"),
            ),
            no_value="few records",
            decimals=0,
            name="{{idc}}",
        ),
        stat(
            "Went wrong",
            "Share of the host results of the last 15 minutes that failed, timed out or never came, in all "
            "chosen IDCs together. Orange: more than the objective allows.",
            "percentunit",
            graded(f"{bad} / ({all_judged} > 0)", warn=q.threshold("burn_slow:ratio")),
            no_value="nothing ran",
            decimals=1,
        ),
        stat(
            "Unreported hosts",
            "Hosts of records finished in the last 15 minutes that the platform never told about: an agent"
            " or a proxy of the IDC is likely gone.",
            "none",
            f"sum({silent})",
            decimals=0,
        ),
        stat(
            "Failed wholly",
            "Times in the last 15 minutes that a record succeeded on no host of an IDC.",
            "none",
            f"sum({wholly})",
            decimals=0,
        ),
        stat(
            "Without an IDC",
            "Share of the host results of the last 15 minutes that belong to no place: the platform named no "
            "IDC, or the label limit is reached. They are in no other panel but the last one.",
            "percentunit",
            f"(sum({lost}) or 0 * sum({anywhere})) / (sum({anywhere}) > 0)",
            no_value="nothing ran",
            decimals=1,
        ),
    )


def _table() -> PanelBuilder:
    def column(series: str, head: str, unit: str = "percentunit", width: int = 66) -> Column:
        decimals = 1 if unit == "percentunit" else 0
        return Column(expr=_of_each(series), head=head, unit=unit, width=width, decimals=decimals)

    return table(
        "IDCs, worst first",
        "The last 15 minutes of each IDC. Now: hosts that went wrong; Others: in all other IDCs together; "
        "Unreported: hosts that the platform never told about; Failed: records that succeeded on no host "
        "here. A click on an IDC shows only that one.",
        {"idc": Label(head="IDC", width=110, link=ONLY_THIS)},
        [
            Column(expr=_of_each("job_idc:idc:state"), head="State", unit="none", width=96, texts=STATES),
            column("job_idc:job_host_results:failure_ratio_increase15m", "Now"),
            column("job_idc:job_host_results_elsewhere:failure_ratio_increase15m", "Others"),
            column("job_idc:job_host_results:unreported_ratio_increase15m", "Unreported", width=96),
            column("job_idc:job_idc_records:failed_ratio_increase15m", "Failed"),
            column("job_idc:job_host_results_judged:increase15m", "Hosts", "none", 64),
            column("job_idc:job_idc_records:increase15m", "Records", "none", 76),
        ],
        sort=("State", "Now"),
        hidden=("job",),
        no_value="nothing ran",
    )


def _history() -> Row:
    state, sick, first, worst = _state(), _sick_now(), _worst(FIRST), _worst()
    among = f"({sick} or {worst})"
    others = q.host_failure_share_elsewhere(*BY, matchers=(CHOSEN,))
    elsewhere = q.first_of(_of_each("job_idc:job_host_results_elsewhere:failure_ratio_increase15m"), others)
    return Row(
        title="Since when",
        panels=(
            *sized(
                24,
                9,
                timeline(
                    "State of the worst IDCs",
                    f"Those that fail now first, then the {SHOWN} with the greatest share of hosts that "
                    "went wrong in the time shown. Choose an IDC to see another one. Gap: no host result.",
                    [
                        ("{{idc}}", f"({state}) and on (job, idc) {sick}"),
                        ("{{idc}}", f"(({state}) and on (job, idc) {first}) unless on (job, idc) {sick}"),
                        (
                            "{{idc}}",
                            f"(({state}) and on (job, idc) {worst}) unless on (job, idc) ({sick} or {first})",
                        ),
                    ],
                    STATES,
                ),
            ),
            *sized(
                12,
                9,
                lines(
                    "Share of hosts that went wrong",
                    "Share of the host results of 15 minutes, for the same IDCs as above. A line that "
                    "leaves the others is a sick IDC; all rising together is a bad job. Dashed: the limit "
                    "of the alert.",
                    "percentunit",
                    {"{{idc}}": f"({_share()}) and on (job, idc) {among}"},
                    limits={"limit": q.limit("idc_failing:ratio")},
                    right=True,
                ),
                lines(
                    "Worse than the others by",
                    "The share of an IDC minus the share of all other IDCs together. Near zero: it fares "
                    "like the others, whatever that is. Far above: this place is the trouble.",
                    "percentunit",
                    {"{{idc}}": f"(({_share()}) - ({elsewhere})) and on (job, idc) {among}"},
                    at_least=0.1,
                    below_zero=True,
                    right=True,
                ),
            ),
        ),
    )


def _hosts() -> Row:
    return Row(
        title="Where the hosts are",
        panels=sized(
            12,
            8,
            stacked(
                "Hosts by IDC",
                "Host results a minute. An IDC that vanishes here gets no jobs, or gives no answers.",
                "cpm",
                {"{{idc}}": q.occurring(HOSTS, "idc", matchers=(CHOSEN, PLACES))},
                right=True,
            ),
            stacked(
                "Hosts that belong to no place",
                "Host results a minute without an IDC (unknown: such as a host that has no row in the "
                "record) or over the label limit (other), by status.",
                "cpm",
                {"{{status}}": q.occurring(HOSTS, "status", matchers=(NO_PLACES,))},
                right=True,
            ),
        ),
    )


def _chosen() -> Row:
    def share(matcher: str) -> str:
        return q.host_failure_share(matchers=(matcher, PLACES))

    return Row(
        title="The chosen IDCs in detail",
        collapsed=True,
        panels=sized(
            8,
            8,
            stacked(
                "Hosts here by result",
                "Host results a minute in the chosen IDCs. A dot is one record that went wrong here.",
                "cpm",
                {"{{status}}": q.occurring(HOSTS, "status", matchers=(CHOSEN, PLACES))},
                exemplars=True,
            ),
            lines(
                "The chosen against the others",
                "Share of the host results of 15 minutes that went wrong in the chosen IDCs, and in all "
                "others together.",
                "percentunit",
                {"chosen": share(CHOSEN), "the others": share('idc!~"$idc"')},
                limits={"limit": q.limit("idc_failing:ratio")},
            ),
            stacked(
                "Records here by outcome",
                "Finished records a minute that touched the chosen IDCs. clean: all hosts of the IDC "
                "succeeded; degraded: some did; failed: none did.",
                "cpm",
                {"{{outcome}}": q.occurring(RECORDS, "outcome", matchers=(CHOSEN, PLACES))},
            ),
        ),
    )
