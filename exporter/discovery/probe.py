"""Which record the probe asks for: a light one, as it is asked for in each poll. PURE."""

from dataclasses import dataclass, replace

from exporter.discovery.pages import Order, PageRequest

LIGHT = 64_000  # bytes; a record of 200 hosts has 490 kB
CANDIDATES = 4  # page 1 is the cheapest for the database, the next ones are as good


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The page of one record that tells the total."""

    number: int = 1
    sizes: tuple[int, ...] = ()  # bytes of pages 1, 2, … while a light one is looked for

    @property
    def request(self) -> PageRequest:
        """The page to ask for."""
        return PageRequest(number=self.number, size=1)

    @property
    def alternatives(self) -> tuple["Probe", ...]:
        """What to ask for where this page fails: its record may be unreadable."""
        return tuple(Probe(number=self.number % CANDIDATES + step) for step in (1, 2))


def weighed(probe: Probe, size: int, order: Order | None) -> Probe:
    """Learn how large the page was: among the first few records the next probes look for a light one.

    Where the newest come first, the first record changes all the time: nothing is looked for.
    """
    searched = len(probe.sizes) == CANDIDATES
    if size <= LIGHT or order is Order.DESC:
        return replace(probe, sizes=())
    if searched:
        return probe if size <= 2 * min(probe.sizes) else Probe()
    sizes = (*probe.sizes, size) if probe.number == len(probe.sizes) + 1 else (size,)
    if len(sizes) < CANDIDATES:
        return Probe(number=len(sizes) + 1, sizes=sizes)
    return Probe(number=sizes.index(min(sizes)) + 1, sizes=sizes)
