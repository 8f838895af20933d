"""Which gaps are read as one. PURE."""

from collections.abc import Iterable
from dataclasses import replace

from exporter.discovery.gaps import HOLD, MAX_STEP, Gap


def joined(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Sort gaps by where they end; merge unread ones that meet, and those that are read again together."""
    result: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: gap.hi):
        below = result[-1] if result else None
        again = next((number for number, other in enumerate(result) if _are_one(other, gap)), None)
        if below and _is_unread(below) and _is_unread(gap) and below.hi == gap.lo + gap.anchor:
            result[-1] = _merged(below, gap)
        elif again is not None:
            result.append(_merged_again(result.pop(again), gap))
        else:
            result.append(gap)
    return tuple(result)


def _is_unread(gap: Gap) -> bool:
    return gap.anchor > 0 and gap.at == gap.hi and gap.since is None


def _merged(below: Gap, gap: Gap) -> Gap:
    return replace(
        below,
        hi=gap.hi,
        at=gap.hi,
        missing=below.missing + gap.missing,
        were_empty=below.were_empty + gap.were_empty,
        due=min(below.due, gap.due),
        is_stalled=below.is_stalled and gap.is_stalled,
    )


def _are_one(a: Gap, b: Gap) -> bool:
    """Whether two gaps that are read again meet, and end at about the same time if both miss records."""
    if any(gap.since is None or not gap.passes or gap.floor is not None for gap in (a, b)):
        return False
    if a.at != b.at and (a.at < a.hi or b.at < b.hi):  # one of them is half read
        return False
    overlap = min(a.hi, b.hi) - max(a.lo, b.lo)
    is_near = not (a.missing and b.missing) or abs((a.since or 0.0) - (b.since or 0.0)) <= HOLD / 3
    width = max(a.hi, b.hi) - min(a.lo, b.lo)
    return overlap >= 0 and width <= MAX_STEP and is_near and a.is_early == b.is_early


def _merged_again(a: Gap, b: Gap) -> Gap:
    """Two gaps as one. If one misses records, the hold of that one counts."""
    held = [gap for gap in (a, b) if gap.missing] or [a, b]
    known = [gap.after for gap in held if gap.after is not None]
    return replace(
        _merged(a, b),
        lo=min(a.lo, b.lo),
        hi=max(a.hi, b.hi),
        at=a.at if a.at == b.at else max(a.hi, b.hi),
        due=(min if a.missing or b.missing else max)(gap.due for gap in held),
        opened=min(gap.opened for gap in held),
        since=min(gap.since or 0.0 for gap in held),
        passes=min(a.passes, b.passes),
        barren=max(a.barren, b.barren),
        after=min(known, default=None),
        until=None if None in {a.until, b.until} else max(a.until or 0.0, b.until or 0.0),
    )
