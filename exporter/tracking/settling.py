"""When a done record is settled, and which of several answers counts (rule 5). PURE.

Answers may come from database copies of different age, in any order. A done record stays done, and a result
is never replaced by no result. Host rows may be missing for a moment while the platform rewrites them, so
rows that show less than earlier ones are not used at once.
"""

from exporter.model import ExecuteStatus, Record, Results
from exporter.tracking.counting import is_complete

RESULTS_LIMIT = 3600.0  # seconds of failed look-ups; after that a record counts with the known data
LONGEST_WAIT = 300.0  # maximum seconds between two of these look-ups
LEAST_TRIES = 5  # minimum number of look-ups, however long the poll interval
LESS_SHOWN_LIMIT = 60.0  # seconds after the grace in which missing rows may come back


def newer(known: Record | None, answer: Record) -> Record:
    """Return the newer version of a done record: the known one, or the answer."""
    if known is None:
        return answer
    is_older = answer.execute_status is not ExecuteStatus.DONE
    lost_result = known.result_status is not None and answer.result_status is None
    return known if is_older or lost_result else answer


def more(best: Results | None, results: Results) -> Results:
    """Return the more complete results: by hosts that reported, then by rows, then the newer."""
    return results if best is None or _reported(results) >= _reported(best) else best


def wait_in_vain(asked: float, interval: float) -> float:
    """Seconds to wait after a failed look-up, `asked` seconds after the first; doubles each time."""
    return max(interval, min(asked, LONGEST_WAIT, RESULTS_LIMIT - asked))


def is_given_up(asked: float, interval: float) -> bool:
    """Whether to stop after `asked` seconds of failed look-ups."""
    return asked >= max(RESULTS_LIMIT, (LEAST_TRIES - 1) * interval)


def is_settled(
    record: Record, results: Results, *, best: Results | None, waited: float, interval: float, grace: float
) -> bool:
    """Whether a done record counts with these results.

    `best`: the best earlier results; None: these are the first. `waited`: seconds since it was first seen
    done. The grace ends a little early, because a poll may come a little early.
    """
    is_late = waited >= grace - interval / 4
    # If the record does not list its hosts, two look-ups must agree.
    agrees = best is not None and set(best.rows) == set(results.rows)
    if is_complete(record, results) and (record.expected_hosts is not None or agrees):
        return record.result_status is not None or is_late
    # Rows may be missing for a moment, so incomplete results need a second look-up.
    seen_twice = best is not None or not grace
    shows_all = more(best, results) is results or waited >= grace + LESS_SHOWN_LIMIT
    return seen_twice and shows_all and is_late


def _reported(results: Results) -> tuple[int, int]:
    return sum(row.status is not None for row in results.rows), len(results.rows)
