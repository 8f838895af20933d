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
RATE_WINDOW = "$__rate_interval"  # at least four scrapes, at any zoom
WHOLE_RANGE = "$__range"  # for figures of "the time on the clock at the top right"

# As in the recording rules: cancelled is somebody's choice and unknown no answer, so neither is judged.
BAD_RESULTS = 'result_status=~"fail|timeout"'
JUDGED_RESULTS = 'result_status=~"success|fail|timeout"'
BAD_HOSTS = 'status=~"fail|timeout|unreported"'
JUDGED_HOSTS = 'status=~"success|fail|timeout|unreported"'


def select(metric: str, *matchers: str) -> str:
    """Return the selector of `metric` with the dashboard's filters and `matchers`."""
    return f"{metric}{{{', '.join((MATCHERS, *matchers))}}}"


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


def increase(metric: str, *matchers: str, window: str = WHOLE_RANGE) -> str:
    """Return the events of a counter within `window`, per series."""
    return f"increase({select(metric, *matchers)}[{window}])"


def per_minute(metric: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return events a minute: jobs are rare enough that "0.02 a second" says nothing to a person."""
    return f"60 * {total(rate(metric, *matchers), *by)}"


def share(part: str, whole: str) -> str:
    """Return part / whole where there is a whole, else nothing (rather than a division by zero)."""
    return f"({or_zero(part, whole)}) / ({whole} > 0)"


def or_zero(part: str, whole: str) -> str:
    """Return `part`, or 0 where it has no series yet but `whole` has: a status that nobody met.

    Not `or vector(0)`: an exporter that is not scraped would look healthy.
    """
    return f"{part} or 0 * {whole}"


def quantile(q: float, metric: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return the q-quantile of a histogram over the rate window."""
    return f"histogram_quantile({q}, {total(rate(f'{metric}_bucket', *matchers), 'le', *by)})"


def least(vector: str, *by: str) -> str:
    """Return the least of `vector`, replicas counted once: of several platforms the worst off."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"min{grouping} ({once(vector)})"


def age(metric: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return the seconds since a timestamp; of several platforms the longest."""
    return f"time() - {least(select(metric, *matchers), *by)}"


def record_failure_share(*by: str, window: str | None = None) -> str:
    """Return the share of judged records that went wrong.

    Over the rate window by default, else over `window`.
    """
    return _failure_share("job_records_finished_total", BAD_RESULTS, JUDGED_RESULTS, by, _events(window))


def host_failure_share(*by: str, window: str | None = None, matchers: tuple[str, ...] = ()) -> str:
    """Return the share of judged host results that went wrong or never came."""
    return _failure_share("job_host_results_total", BAD_HOSTS, JUDGED_HOSTS, by, _events(window, matchers))


def host_failure_share_elsewhere(*, matchers: tuple[str, ...] = (), window: str | None = None) -> str:
    """Return, for each IDC, the failure share of all the others: what it is to be compared with.

    `matchers` picks the IDCs to answer for; "the others" are always all the others. A single IDC has none:
    then there is no answer rather than a division by zero.
    """

    def others(status: str) -> str:
        everywhere = total(_events(window)("job_host_results_total", status))
        here = total(_events(window, matchers)("job_host_results_total", status), "idc")
        return f"(scalar({everywhere}) - {here})"

    return f"{others(BAD_HOSTS)} / ({others(JUDGED_HOSTS)} > 0)"


def _failure_share(metric: str, bad: str, judged: str, by: tuple[str, ...], events: Events) -> str:
    return share(total(events(metric, bad), *by), total(events(metric, judged), *by))


def _events(window: str | None, matchers: tuple[str, ...] = ()) -> Events:
    """Return what makes the vector of (metric, matcher): increases within `window`, or rates without one."""
    if window:
        return lambda metric, matcher: increase(metric, matcher, *matchers, window=window)
    return lambda metric, matcher: rate(metric, matcher, *matchers)
