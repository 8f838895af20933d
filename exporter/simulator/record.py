"""A record of the simulated platform, and the recipe it is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.simulator.fleet import Host

NO_TIME = -62_135_596_800  # 0001-01-01T00:00:00Z: a record without a start sorts before all others
_NONE: Mapping[str, str] = {}  # one for all: 300,000 records have no doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpec:
    """What `World.add` needs to know of a new record. Times are POSIX seconds, cut to whole ones."""

    hosts: tuple[Host, ...] = ()
    id: str | None = None  # None: the world draws one
    start: float | None = None  # None: now
    no_start: bool = False  # the platform shows the zero time
    null_end: bool = False  # no end until it is done; False: the end repeats the start
    execute: str = "doing"
    rows: bool = True  # False: invisible until `give_rows`
    rowless: frozenset[str] = frozenset()  # ids of hosts that never get a row
    hosts_listed: bool = True  # False: the record does not tell its hosts
    provider: str = "salt"
    script_type: str = "bash"
    module: str = "script"
    timeout: int = 60
    name: str = ""


@dataclass(slots=True, kw_only=True)
class Record:
    """One execution of a job as it stands on the platform now; only `World` changes it."""

    id: str
    spec: RecordSpec
    start: int | None
    end: int | None
    execute: str
    result: str = ""
    statuses: list[str]  # one a host, in the order of `spec.hosts`; "": not reported
    has_rows: bool
    shown: int | None = None  # while it blinks: how many rows are left; None: all
    doubles: Mapping[str, str] = field(default_factory=lambda: _NONE)  # host id -> status of its second row
    finished: float | None = None  # when it became done, by the clock of the caller
    verdict: tuple[str, int | None] | None = None  # (result, end) as first given: what is to be counted
    ever_visible: bool = False

    @property
    def key(self) -> tuple[int, str]:
        """Where it stands among the records: by start second, ties by id."""
        return (NO_TIME if self.start is None else self.start, self.id)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.finished is not None

    def all_rows(self) -> list[tuple[Host, str]]:
        """Its host rows, as (host, status), as if it were not blinking."""
        if not self.has_rows:
            return []
        rows: list[tuple[Host, str]] = []
        for host, status in zip(self.spec.hosts, self.statuses, strict=True):
            if host.id in self.spec.rowless:
                continue
            rows.append((host, status))
            if host.id in self.doubles:
                rows.append((host, self.doubles[host.id]))
        return rows

    def rows(self) -> list[tuple[Host, str]]:
        """Its host rows that the platform shows now."""
        return self.all_rows() if self.shown is None else self.all_rows()[: self.shown]

    def visible(self) -> bool:
        """Whether it has a row now, and so is in its page."""
        if not self.has_rows or self.shown == 0:
            return False
        return any(host.id not in self.spec.rowless for host in self.spec.hosts)

    def report(self, statuses: Mapping[str, str]) -> None:
        """Take over statuses by host id."""
        for index, host in enumerate(self.spec.hosts):
            if host.id in statuses:
                self.statuses[index] = statuses[host.id]
