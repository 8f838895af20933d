"""The first screen of *Jobs*: what is wrong now and where, and how much work there is."""

from collections.abc import Sequence

from grafana.src import queries as q
from grafana.src.board import FILTERS
from grafana.src.panels import PanelBuilder
from grafana.src.style import BAD, GOOD, IDLE, UP, WARN
from grafana.src.tiles import graded, stat

FINISHED = "job_records_finished_total"
OLDEST = "job_record_oldest_open_start_timestamp_seconds"
LAST = "job_record_last_finished_timestamp_seconds"
HIDDEN = "job_records_hidden"
UNREADABLE = "job_exporter_unreadable_records"
OPEN = 'execute_status!="done"'
PLATFORM_UP = q.least(q.select("job_exporter_platform_up"))
NONE_OPEN = f"0 * ({PLATFORM_UP} == 1)"  # while the platform is down nothing is known
IDCS = ("Show the IDCs", f"/d/job-exporter-idcs?{FILTERS}")


def wrong() -> Sequence[PanelBuilder]:
    """Return the tiles that something judges."""
    judged = q.recorded("job:job_records_judged:increase1h") + f" >= {q.threshold('min_records:count')}"
    failing = f"max({q.recorded('job:job_records_finished:failure_ratio_increase1h')} and {judged})"
    allowed, fast = q.threshold("burn_slow:ratio"), q.threshold("burn_fast:ratio")
    burn = f"max({q.recorded('job:error_budget:burn_rate_increase1h')} and {judged})"
    hidden = q.total(q.select(HIDDEN))
    least_hidden = f"min_over_time({q.select(HIDDEN)}[1d])"
    new = f"max({q.once(q.select(HIDDEN))} - {q.once(least_hidden)} >= {q.threshold('hidden:count')})"
    state = f"max by (job, idc) ({q.recorded('job_idc:idc:state')})"
    return (
        stat(
            "Platform",
            "Whether the last poll reached the job platform and understood it. While it is down, "
            "what is open is not known: see the Exporter dashboard.",
            "none",
            PLATFORM_UP,
            texts=UP,
            no_value="not scraped",
        ),
        stat(
            "Success",
            "Share of the records of the last hour that succeeded; cancelled and unknown ones are not "
            "judged. Orange: fewer than the objective. Red: the error budget of 30 days would be gone in 2"
            " days.",
            "percentunit",
            graded(failing, warn=allowed, bad=fast, shown="1 - ({})"),
            no_value="few records",
            decimals=1,
        ),
        stat(
            "Burn rate",
            "How many times faster than the objective allows the records of the last hour spend the error "
            "budget. Below 1 the objective holds.",
            "none",
            graded(burn, warn="1", bad=f"({fast} / {allowed})"),
            no_value="few records",
            decimals=1,
        ),
        stat(
            "Budget left",
            "What the failures of the last 3 days leave of the error budget of these days. Below 0 the "
            "objective was missed.",
            "percentunit",
            f"min({q.recorded('job:error_budget_left:ratio_increase3d')})",
            steps=((None, BAD), (0, GOOD)),
            no_value="nothing ran",
            decimals=0,
        ),
        stat(
            "Sick IDCs",
            "IDCs whose hosts fail now, or whose alert still fires. A click shows the IDCs.",
            "none",
            f"count({state} >= 3) or 0 * count({state})",
            steps=((None, IDLE), (0, GOOD), (1, BAD)),
            no_value="few records",
            link=IDCS,
        ),
        stat(
            "Overdue",
            "Open records past their own timeout: the platform should have ended them.",
            "none",
            graded(q.total(q.select("job_records_overdue")), warn=q.threshold("overdue:count")),
        ),
        stat(
            "Hidden",
            "Records that the platform's total counts and no page shows. Orange: new ones, so the platform "
            "accepts jobs and probably does not run them.",
            "none",
            [(f"{hidden} and on () {new}", WARN), (f"{hidden} unless on () {new}", GOOD)],
        ),
        stat(
            "Unreadable",
            "Records that can't be read now. They are not counted until they can be.",
            "none",
            graded(q.while_up(q.total(q.select(UNREADABLE))), warn=q.threshold("unreadable:count")),
        ),
    )


def work() -> Sequence[PanelBuilder]:
    """Return the tiles of how much work there is."""
    finished = q.total(q.increase(FINISHED))
    bad = q.total(q.increase(FINISHED, q.BAD_RESULTS))
    waiting = 'execute_status="init"'
    return (
        stat(
            "Open",
            "Records on the platform now that are not done: waiting (init) or running (doing).",
            "none",
            q.total(q.select("job_records", OPEN)),
        ),
        stat(
            "Oldest open",
            "How long the oldest open record has been open. Compare it with the longest job you expect.",
            "dthms",
            f"{q.age(OLDEST)} or {NONE_OPEN}",
        ),
        stat(
            "Longest in init",
            "How long the oldest record in init has waited to be taken up.",
            "dthms",
            graded(
                f"{q.age(OLDEST, matchers=(waiting,))} or {NONE_OPEN}", warn=q.threshold("init_wait:seconds")
            ),
        ),
        stat(
            "Finished",
            "Records that ended in the time shown, however they ended.",
            "locale",
            finished,
            decimals=0,
        ),
        stat(
            "Went wrong",
            "Records that ended in fail or timeout in the time shown. The table below tells which jobs, the "
            "IDCs dashboard where.",
            "locale",
            q.or_zero(bad, finished),
            decimals=0,
        ),
        stat(
            "Since a success",
            "Time since a record last succeeded.",
            "dthms",
            q.age(LAST, matchers=('result_status="success"',)),
        ),
    )
