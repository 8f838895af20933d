"""When a finished record is settled, and which of several answers about it counts (rule 5). PURE.

Answers may come from copies of the database, one of them older than another, and in any order. What was seen
done stays done, and a result once told is never replaced by none. Host rows may be missing for a moment while
they are written again: rows that show less than earlier ones are not taken at once.
"""

from exporter.model import ExecuteStatus, Record, Results
from exporter.tracking.counting import is_complete

RESULTS_LIMIT = 3600.0  # seconds of asking in vain; after that a record counts with what is known
LONGEST_WAIT = 300.0  # seconds between two of these look-ups
LEAST_TRIES = 5  # however far apart polls are
LESS_SHOWN_LIMIT = 60.0  # seconds after the grace in which rows that were seen may come back


def newer(known: Record | None, told: Record) -> Record:
    """Return what counts of a record that was seen done: as it is known, or as it is told now."""
    if known is None:
        return told
    is_older = told.execute_status is not ExecuteStatus.DONE
    lost_result = known.result_status is not None and told.result_status is None
    return known if is_older or lost_result else told


def more(best: Results | None, results: Results) -> Results:
    """Return the rows that show more: hosts that reported, else rows; of equal ones the newer."""
    return results if best is None or _reported(results) >= _reported(best) else best


def wait_in_vain(asked: float, interval: float) -> float:
    """Seconds to wait after a look-up in vain, `asked` seconds after the first: twice as long each time."""
    return max(interval, min(asked, LONGEST_WAIT, RESULTS_LIMIT - asked))


def is_given_up(asked: float, interval: float) -> bool:
    """Whether `asked` seconds of look-ups in vain are enough."""
    return asked >= max(RESULTS_LIMIT, (LEAST_TRIES - 1) * interval)


def is_settled(
    record: Record,
    results: Results,
    *,
    best: Results | None,
    waited: float,
    interval: float,
    grace: float,
) -> bool:
    """Whether a finished record counts with these rows.

    `best`: what earlier look-ups showed of its hosts; None: this is the first. `waited`: seconds since it was
    first seen done. A poll that comes a little early is in time for the grace.
    """
    is_late = waited >= grace - interval / 4
    if is_complete(record, results) and _is_whole(record, results, best):
        return record.result_status is not None or is_late
    # Rows may be missing for a moment: what counts is never the only look-up.
    seen_twice = best is not None or not grace
    shows_all = more(best, results) is results or waited >= grace + LESS_SHOWN_LIMIT
    return seen_twice and shows_all and is_late


def _is_whole(record: Record, results: Results, best: Results | None) -> bool:
    """Whether no row is missing: where the platform does not list the hosts, two look-ups must agree."""
    return record.expected_hosts is not None or (best is not None and set(best.rows) == set(results.rows))


def _reported(results: Results) -> tuple[int, int]:
    return sum(row.status is not None for row in results.rows), len(results.rows)
