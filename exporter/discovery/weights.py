"""How heavy records are, and how many of them a page may hold. PURE."""

from dataclasses import dataclass, replace

MAX_PAGE_SIZE = 500  # the offset of a page costs, not its width: 2.0 s for 1 record, 2.2 s for 50
PAGE_BYTES = 4_000_000  # the platform's memory grows by about 7 times the body
GROWTH = 4  # unknown records may be heavy: a page is at most so many times wider than a good one


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What earlier pages showed."""

    record_bytes: float = 0.0  # of a heavy recent one
    widest: int = 0  # records of the largest good page


def page_limit(weights: Weights, limit: int = MAX_PAGE_SIZE) -> int:
    """How many records a page may hold now (1 to `limit`), so that it stays under `PAGE_BYTES`."""
    return max(1, min(limit, GROWTH * weights.widest, int(PAGE_BYTES / max(weights.record_bytes, 1.0))))


def weighed(weights: Weights, records: int, size: int) -> Weights:
    """Learn from a page of `records` records and `size` bytes how heavy records are."""
    if not records:
        return weights
    # A heavier page counts at once, a lighter one slowly: too large a page is the danger.
    return Weights(
        record_bytes=max(size / records, weights.record_bytes / 2),
        widest=max(weights.widest, records) if size <= PAGE_BYTES else max(1, records // 2),
    )


def too_heavy(weights: Weights, records: int) -> Weights:
    """Learn that a page of so many records was refused as too large: ask for half of it."""
    return replace(
        weights,
        record_bytes=max(weights.record_bytes, 2.0 * PAGE_BYTES / records),
        widest=max(1, records // 2),
    )


def refused(weights: Weights, records: int) -> Weights:
    """Learn that the platform failed on a page of so many records, and on none of them alone."""
    return replace(weights, widest=records // (2 * GROWTH))
