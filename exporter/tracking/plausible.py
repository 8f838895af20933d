"""Whether the times of a record can be true, as far as the platform's clock and what was seen tell. PURE.

A wrong `api.timezone`, or a second master in another time zone, shifts times by hours. Records count
nevertheless, but their lag and the newest end are wrong, and history is cut at the wrong hour.
"""

from exporter.model import ExecuteStatus, Record
from exporter.tracking.values import Clock, Stage, Tracked

LEAST = 2700.0  # seconds: clocks of masters differ by minutes, time zones by an hour or half of one
MOST = 26 * 3600.0  # seconds between the first and the last time zone; what is further off is no zone


def hours_off(before: Tracked, record: Record | None, *, began: float, clock: Clock) -> float | None:
    """Hours by which a record's times are wrong, at least; None: they may be true.

    `before`: what was known when it was looked up; `began`: what ended by then is not counted.
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
        if before.baseline_end is None:  # it came after counting began, or was seen open then
            offs.append(min(0.0, record.end - began))
    off = max(offs, key=abs, default=0.0)
    return off / 3600.0 if LEAST <= abs(off) <= MOST else None
