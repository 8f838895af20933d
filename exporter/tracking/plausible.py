"""Detects records whose times are wrong by hours. PURE.

A wrong `api.timezone`, or a second master in another time zone, shifts times by hours. Such records are
counted, but their lag and the latest end are wrong, and the limit of history is off.
"""

from exporter.model import Clock, ExecuteStatus, Record
from exporter.tracking.values import Stage, Tracked

LEAST = 2700.0  # seconds: clocks of masters differ by minutes, time zones by half an hour or more
MOST = 26 * 3600.0  # seconds between the first and the last time zone


def hours_off(before: Tracked, record: Record | None, *, began: float, clock: Clock) -> float | None:
    """Minimum hours by which a record's times are wrong; None: they may be right.

    `before`: the record before the look-up; `began`: records that ended by then are not counted.
    """
    if record is None or before.stage is Stage.DONE:
        return None
    offs: list[float] = []
    if record.start is not None:
        offs.append(max(0.0, record.start - clock.platform))
    if record.execute_status is ExecuteStatus.DONE and record.end is not None:
        offs.append(max(0.0, record.end - clock.platform))
        if before.seen_open is not None:
            offs.append(min(0.0, record.end - before.seen_open))
        if before.baseline_end is None:  # it came after counting began, or was open then
            offs.append(min(0.0, record.end - began))
    off = max(offs, key=abs, default=0.0)
    return off / 3600.0 if LEAST <= abs(off) <= MOST else None
