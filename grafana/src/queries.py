"""PromQL of the dashboards: strings in, strings out.

Replicas count once. Two exporters on one ledger expose the same counters, so a plain `sum` would show
everything twice. `once` takes the greatest of the series that differ only by the replica's labels:

- one replica: the greatest of one is itself;
- two in step: they are equal, so either is right;
- one lags a scrape, or was just started and has no rate yet: the other one holds the truth, and it is
  the greater (an average would be dragged down, a sum doubled).

`rate` stands inside `max`: a maximum of raw counters would hide a reset. The order of buckets survives,
since in each replica a wider bucket is never below a narrower one. Labels that tell platforms apart
(job, cluster, a label of the scrape) are kept, so two platforms still add up.
"""

from collections.abc import Callable

Events = Callable[[str, str], str]  # (metric, matcher) → vector of its events

REPLICA_LABELS = "instance, pod"  # what differs between replicas: by address, and by name on Kubernetes
MATCHERS = 'job=~"$job", instance=~"$instance"'  # in every selector: the linter's rule, and the user's filter
JOB = 'job=~"$job"'  # in every selector of a recorded series
RATE_WINDOW = "$__rate_interval"  # at least four scrapes, at any zoom
WHOLE_RANGE = "$__range"  # for figures of "the time on the clock at the top right"
JUDGING = "15m"  # ratios and quantiles: the window of the rules; a minute holds too few records

# As in the recording rules: cancelled is somebody's choice and unknown no answer, so neither is judged.
BAD_RESULTS = 'result_status=~"fail|timeout"'
JUDGED_RESULTS = 'result_status=~"success|fail|timeout"'
BAD_HOSTS = 'status=~"fail|timeout|unreported"'
PLACES = 'idc!~"unknown|other"'  # hosts without an IDC, and what is over the label limit, are no places
JUDGED_HOSTS = 'status=~"success|fail|timeout|unreported"'


def select(metric: str, *matchers: str) -> str:
    """Return the selector of `metric` with the dashboard's filters and `matchers`."""
    return f"{metric}{{{', '.join((MATCHERS, *matchers))}}}"


def recorded(series: str, *matchers: str) -> str:
    """Return the selector of a series that the rules record: it has no instance, and may have no filter."""
    return f"{series}{{{', '.join((JOB, *matchers))}}}"


def threshold(name: str) -> str:
    """Return an alert's threshold as a scalar, to compare with."""
    return f"scalar({limit(name)})"


def limit(name: str) -> str:
    """Return an alert's threshold, as the rules record it, as a series to draw.

    It is the one of the end of the time shown: history from before the rules has none of its own.
    """
    return f"job_threshold:{name}{{}} @ end()"


def first_of(series: str, counters: str) -> str:
    """Return what the rules record, and where they recorded nothing the same from the counters.

    History that `backfill` wrote has counters only.
    """
    return f"{series} or {counters}"


def once(vector: str) -> str:
    """Return `vector` with replicas counted once (see the head of this module)."""
    return f"max without ({REPLICA_LABELS}) ({vector})"


def total(vector: str, *by: str) -> str:
    """Return the sum of `vector` over everything but `by`, replicas counted once."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouping} ({once(vector)})"


def rate(metric: str, *matchers: str) -> str:
    """Return the events a second of a counter, per series."""
    return f"rate({select(metric, *matchers)}[{RATE_WINDOW}])"


def increase(metric: str, *matchers: str, window: str = WHOLE_RANGE, at_end: bool = False) -> str:
    """Return the events of a counter within `window`, per series; `at_end`: at any time those of the end."""
    return f"increase({select(metric, *matchers)}[{window}]{' @ end()' if at_end else ''})"


def per_minute(metric: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return events a minute: jobs are rare enough that "0.02 a second" says nothing to a person."""
    return f"60 * {total(rate(metric, *matchers), *by)}"


def occurring(metric: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return events a minute of what occurred in the time shown: a legend of zeros hides the rest."""
    occurred = total(increase(metric, *matchers, at_end=True), *by)
    return f"{per_minute(metric, *by, matchers=matchers)} and on ({', '.join(by)}) {occurred} > 0"


def share(part: str, whole: str) -> str:
    """Return part / whole where there is a whole, else nothing (rather than a division by zero)."""
    return f"({or_zero(part, whole)}) / ({whole} > 0)"


def or_zero(part: str, whole: str) -> str:
    """Return `part`, or 0 where it has no series yet but `whole` has: a status that nobody met.

    Not `or vector(0)`: an exporter that is not scraped would look healthy.
    """
    return f"{part} or 0 * {whole}"


def quantile(q: float, metric: str, *by: str, window: str = JUDGING) -> str:
    """Return the q-quantile of a histogram over `window`."""
    buckets = f"rate({select(f'{metric}_bucket')}[{window}])"
    return f"histogram_quantile({q}, {total(buckets, 'le', *by)}) >= 0"


def least(vector: str, *by: str) -> str:
    """Return the least of `vector`, replicas counted once: of several platforms the worst off."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"min{grouping} ({once(vector)})"


def while_up(vector: str) -> str:
    """Return `vector` while the platform is reached: what it told before is not known to hold."""
    return f"{vector} and on () ({least(select('job_exporter_platform_up'))} == 1)"


def age(metric: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return the seconds since a timestamp; of several platforms the longest."""
    return f"time() - {least(select(metric, *matchers), *by)}"


def record_failure_share(*by: str, window: str = JUDGING, bad: str = BAD_RESULTS) -> str:
    """Return the share of judged records that went wrong within `window`."""
    return _failure_share("job_records_finished_total", bad, JUDGED_RESULTS, by, _events(window))


def host_failure_share(*by: str, window: str = JUDGING, matchers: tuple[str, ...] = ()) -> str:
    """Return the share of judged host results that went wrong or never came within `window`."""
    return _failure_share("job_host_results_total", BAD_HOSTS, JUDGED_HOSTS, by, _events(window, matchers))


def host_failure_share_elsewhere(*by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return, for each label set of `by`, the failure share of all other real places of its job.

    `matchers` picks the IDCs to answer for; "the others" are always all the others. A single IDC has none:
    then there is no answer rather than a division by zero.
    """
    events = _events(JUDGING, (PLACES,))
    chosen = _events(JUDGING, (*matchers, PLACES))

    def others(status: str) -> str:
        everywhere = total(events("job_host_results_total", status), "job")
        here = total(chosen("job_host_results_total", status), *by)
        return f"({everywhere} - on (job) group_right () {here})"

    return f"clamp_min({others(BAD_HOSTS)}, 0) / ({others(JUDGED_HOSTS)} > 0)"


def _failure_share(metric: str, bad: str, judged: str, by: tuple[str, ...], events: Events) -> str:
    return share(total(events(metric, bad), *by), total(events(metric, judged), *by))


def _events(window: str, matchers: tuple[str, ...] = ()) -> Events:
    """Return what makes the vector of (metric, matcher): increases within `window`."""
    return lambda metric, matcher: increase(metric, matcher, *matchers, window=window)
