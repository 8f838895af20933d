"""The state of the simulated platform. PURE: no clock (`now` is passed in), no I/O, no global random.

Records lie sorted by (start second, id). `order` says whether pages begin with the oldest ("asc", as
the recorded platform does) or with the newest ("desc"). A record without host rows counts in the total
and takes a position, but no page shows it.

Operations raise KeyError for an unknown id and ValueError for what the platform could never do.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from exporter.simulator.fleet import make_id
from exporter.simulator.record import NO_TIME, Record, RecordSpec
from exporter.simulator.truth import RecordTruth, normal_result, record_truth

Order = Literal["asc", "desc"]
_KEY = attrgetter("key")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """What lies at the positions of one page: the visible records, in the order of the positions."""

    total: int
    records: tuple[Record, ...]


class World:
    """All records of the platform. `retention` (seconds, None: for ever) is applied by `expire`.

    `rows_decide` is False on a platform whose pages list records themselves: there all are visible.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        order: Order = "asc",
        retention: float | None = None,
        rows_decide: bool = True,
    ) -> None:
        self.order: Order = order
        self.retention = retention
        self.rows_decide = rows_decide
        self._rng = random.Random(f"world-{seed}")
        self._by_id: dict[str, Record] = {}
        self._sorted: list[Record] = []
        self._gone: dict[str, RecordTruth] = {}
        self._lost: set[str] = set()

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._by_id

    def __iter__(self) -> Iterator[Record]:
        """Walk over the records, oldest start first."""
        return iter(self._sorted)

    # -- what the platform shows -------------------------------------------------------------------

    def record(self, record_id: str) -> Record:
        """Give the record of this id."""
        return self._by_id[record_id]

    def page(self, number: int, size: int) -> PageView:
        """Give page `number` (from 1) of `size` positions; a negative size gives everything."""
        total = len(self._sorted)
        first = 0 if size < 0 else max(number - 1, 0) * size
        last = total if size < 0 else first + size
        if number < 0 or first >= total:
            chosen: list[Record] = []
        elif self.order == "asc":
            chosen = self._sorted[first:last]
        else:
            chosen = self._sorted[max(total - last, 0) : total - first][::-1]
        return PageView(total=total, records=tuple(r for r in chosen if self.shows(r)))

    def shows(self, record: Record) -> bool:
        """Whether the page of this record holds it now."""
        return record.visible() or not self.rows_decide

    # -- what happens on it ------------------------------------------------------------------------

    def add(self, spec: RecordSpec, now: float) -> str:
        """Put a record there and give its id; ValueError when the id is taken."""
        record_id = make_id(self._rng) if spec.id is None else spec.id
        if record_id in self._by_id or record_id in self._gone or record_id in self._lost:
            raise ValueError(f"record {record_id} was there before")
        start = None if spec.no_start else int(now if spec.start is None else spec.start)
        record = Record(
            id=record_id,
            spec=spec,
            start=start,
            end=None if spec.null_end else start,
            execute=spec.execute,
            statuses=[""] * len(spec.hosts),
            has_rows=spec.rows,
        )
        self._by_id[record_id] = record
        insort(self._sorted, record, key=_KEY)
        self._notice(record)
        return record_id

    def give_rows(self, record_id: str) -> None:
        """Insert the host rows of a record that had none."""
        record = self.record(record_id)
        record.has_rows = True
        self._notice(record)

    def blink(self, record_id: str, *, keep: int = 0) -> None:
        """Let all rows of a record but the first `keep` be gone until `unblink`."""
        self.record(record_id).shown = keep

    def unblink(self, record_id: str) -> None:
        """Bring the rows of a record back."""
        record = self.record(record_id)
        record.shown = None
        self._notice(record)

    def begin(self, record_id: str) -> None:
        """Take a record from init to doing."""
        record = self.record(record_id)
        if record.done:
            raise ValueError(f"record {record_id} is done")
        record.execute = "doing"

    def report_host(self, record_id: str, host_id: str, status: str) -> None:
        """Let one host tell its status, before or after the record is done."""
        self.record(record_id).report({host_id: status})

    def report_hosts(self, record_id: str, statuses: Mapping[str, str]) -> None:
        """Let hosts tell their statuses, by host id."""
        self.record(record_id).report(statuses)

    def double_rows(self, record_id: str, statuses: Mapping[str, str]) -> None:
        """Give hosts a second row with this status, by host id."""
        record = self.record(record_id)
        record.doubles = {**record.doubles, **statuses}

    def finish(
        self,
        record_id: str,
        result: str,
        now: float,
        *,
        statuses: Mapping[str, str] | None = None,
        report_hosts: bool = True,
        execute: str = "done",
        end: float | None = None,
    ) -> None:
        """End a record at `now`; `end` is what it says of that time (None: the truth).

        `statuses` are the hosts' by id; without them each host takes over the result. With
        `report_hosts=False` the hosts stay as they are, and may report later.
        """
        record = self.record(record_id)
        if record.done:
            raise ValueError(f"record {record_id} is done already")
        if report_hosts:
            record.report({h.id: result for h in record.spec.hosts} if statuses is None else statuses)
        record.execute, record.result = execute, result
        record.end, record.finished = int(now if end is None else end), now
        record.verdict = (normal_result(execute, result), record.end)

    def amend(self, record_id: str, *, result: str | None = None, end: float | None = None) -> None:
        """Change a record after it was done; the truth keeps what it said first."""
        record = self.record(record_id)
        if not record.done:
            raise ValueError(f"record {record_id} is not done")
        record.result = record.result if result is None else result
        record.end = record.end if end is None else int(end)

    def move(self, record_id: str, start: float) -> None:
        """Correct the start of an open record, so that it lies at another position."""
        record = self.record(record_id)
        if record.done:
            raise ValueError(f"record {record_id} is done")
        self._sorted.pop(bisect_left(self._sorted, record.key, key=_KEY))
        record.start = int(start)
        record.end = None if record.end is None else record.start
        insort(self._sorted, record, key=_KEY)

    def delete(self, record_ids: Iterable[str]) -> None:
        """Remove records; positions behind them shift."""
        leaving = {record_id: self.record(record_id) for record_id in record_ids}
        if len(leaving) > 16:  # one pass over all is cheaper than a search for each
            self._sorted = [record for record in self._sorted if record.id not in leaving]
        else:
            for record in leaving.values():
                self._sorted.pop(bisect_left(self._sorted, record.key, key=_KEY))
        self._forget(leaving.values())

    def delete_oldest(self, count: int) -> None:
        """Remove the records with the oldest starts."""
        leaving = self._sorted[:count]
        del self._sorted[:count]
        self._forget(leaving)

    def expire(self, now: float) -> None:
        """Remove what started more than `retention` ago, if there is a retention."""
        if self.retention is not None:
            oldest = (max(int(now - self.retention), NO_TIME), "")
            self.delete_oldest(bisect_left(self._sorted, oldest, key=_KEY))

    def _forget(self, leaving: Iterable[Record]) -> None:
        for record in leaving:
            del self._by_id[record.id]
            if record.done:
                self._gone[record.id] = record_truth(record, visible=False, deleted=True)
            else:
                self._lost.add(record.id)

    def _notice(self, record: Record) -> None:
        record.ever_visible = record.ever_visible or self.shows(record)

    # -- what is true of it ------------------------------------------------------------------------

    def truth(self) -> dict[str, RecordTruth]:
        """Tell the facts of everything that finished, by record id, deleted ones too."""
        facts = dict(self._gone)
        facts.update((r.id, record_truth(r, visible=self.shows(r))) for r in self._sorted if r.done)
        return facts

    def open_ids(self) -> frozenset[str]:
        """Give the ids of the records that have not ended."""
        return frozenset(record.id for record in self._sorted if not record.done)

    def lost_ids(self) -> frozenset[str]:
        """Give the ids of the records that were deleted before they ended."""
        return frozenset(self._lost)
