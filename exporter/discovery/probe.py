"""Which record the probe requests: a light one that its page shows, as each poll requests it. PURE."""

from dataclasses import dataclass, replace

from exporter.discovery.pages import Order, PageRequest
from exporter.model import Page

LIGHT = 64_000  # bytes; a record of 200 hosts has 490 kB
CANDIDATES = 4  # page 1 is the cheapest for the database, the next ones are as good


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The page of one record that tells the total."""

    number: int = 1
    sizes: tuple[int, ...] = ()  # bytes of pages 1, 2, … during the search for a light one

    @property
    def request(self) -> PageRequest:
        """The page to request."""
        return PageRequest(number=self.number, size=1)

    @property
    def alternatives(self) -> tuple["Probe", ...]:
        """What to request if this page fails: its record may be unreadable."""
        return tuple(Probe(number=self.number % CANDIDATES + step) for step in (1, 2))


def weighed(probe: Probe, page: Page, size: int, order: Order | None) -> Probe:
    """The next probe after this one returned `page` of `size` bytes.

    If the newest come first, the first record changes all the time, so the probe stays.
    """
    if page.total and probe.number > page.total:  # it would never show a record
        return Probe()
    if order is Order.DESC:
        return replace(probe, sizes=())
    if page.total and not page.items:  # many of the oldest records may be hidden: move on in growing steps
        return Probe(number=2 * probe.number)
    return replace(probe, sizes=()) if size <= LIGHT else _searched(probe, size)


def _searched(probe: Probe, size: int) -> Probe:
    """The next candidate after a heavy record, or the lightest of all."""
    if len(probe.sizes) == CANDIDATES:
        return probe if size <= 2 * min(probe.sizes) else Probe()
    sizes = (*probe.sizes, size) if probe.number == len(probe.sizes) + 1 else (size,)
    if len(sizes) < CANDIDATES:
        return Probe(number=len(sizes) + 1, sizes=sizes)
    return Probe(number=sizes.index(min(sizes)) + 1, sizes=sizes)
