"""Whatever state the tail is in: after some calm polls, what is due has been read."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.discovery.choosing import next_page
from exporter.discovery.evidence import Evidence
from exporter.discovery.gaps import HOLD, Gap, is_due, open_gap
from exporter.discovery.order import Ends, First
from exporter.discovery.pages import Order, PageRequest, Purpose, covered
from exporter.discovery.probe import Probe, weighed
from exporter.discovery.reading import read
from exporter.discovery.sweep import INTERVAL, begin_sweep, sweep_page
from exporter.discovery.tail import Narrowing, Tail, Unreadable, probe_moved, probed
from exporter.model import LONG_AGO
from exporter.simulator.world import World
from tests.discovery.test_tail import WIDE, Reader, add, at, world
from tests.harness.core import NOW, item, page

POSITIONS = st.integers(0, 60)
STEP = 60.0
POLLS = int((INTERVAL + HOLD) / STEP) + 30  # until the next sweep has ended, and what is hidden is given up


class Daemon(Reader):
    """Probes, reads and sweeps as a poller does."""

    def probe(self) -> None:
        answer = self.page(self.tail.probe.request)
        self.tail = probe_moved(self.tail, weighed(self.tail.probe, answer, 400, self.tail.order))
        self.take_probe(answer)
        self.tail = begin_sweep(self.tail, now=self.now, oldest=NOW - 86400.0, is_first=False)

    def run(self) -> None:
        while (request := next_page(self.tail, now=self.now) or sweep_page(self.tail)) is not None:
            self.asked.append(request)
            self.take(self.page(request), request.purpose)

    def poll(self, *, after: float = 15.0) -> None:
        before = len(self.asked)
        super().poll(after=after)
        assert len(self.asked) - before < 200


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    """A gap somewhere, read to any depth."""
    lo = draw(POSITIONS)
    hi = lo + draw(st.integers(1, 30))
    gap = open_gap(lo, hi, missing=draw(st.integers(0, 5)), now=NOW + draw(st.integers(-500, 300)))
    return replace(
        gap,
        at=draw(st.integers(lo + 1, hi)),
        anchor=draw(st.integers(0, 1)),
        is_check=draw(st.booleans()),
        is_stalled=draw(st.booleans()),
        since=draw(st.sampled_from([None, NOW - 300])),
    )


@st.composite
def tails(draw: st.DrawFn) -> Tail:
    """A state as faults may leave it behind, true or not."""
    total = draw(st.integers(0, 70))
    evidence = st.none() | st.builds(
        Evidence, since=st.just(NOW - 30), last=st.just(NOW), answers=st.integers(1, 5), total=POSITIONS
    )
    first = st.none() | st.builds(First, id=st.just("gone"), start=st.none() | st.just(NOW - 600))
    spans = st.builds(Narrowing, lo=st.just(5), hi=st.just(9), bottom=st.just(5), size=st.just(4))
    positions = st.builds(Unreadable, position=POSITIONS, due=st.sampled_from([NOW, NOW + 1800]))
    return Tail(
        total=total,
        last_total=total,
        accepted_at=NOW - 15,
        fewer=draw(evidence),
        turned=draw(evidence),
        probe=draw(st.builds(Probe, number=st.integers(1, 80))),
        ends=Ends(order=draw(st.sampled_from([None, *Order])), first=draw(first)),
        gaps=tuple(draw(st.lists(gaps(), max_size=4))),
        unreadable=tuple(draw(st.lists(positions, max_size=10, unique_by=lambda item: item.position))),
        narrowing=draw(st.none() | spans),
    )


@settings(max_examples=40)
@given(tail=tails(), order=st.sampled_from(["asc", "desc"]), records=st.integers(0, 60))
def test_after_calm_polls_all_that_is_due_is_read(tail: Tail, order: str, records: int) -> None:
    """No suspicion, no position and no wait suspends reading for longer than it needs to be confirmed."""
    reader = Daemon(world(records, order=order))
    reader.known.clear()
    reader.tail = replace(tail, weights=reader.tail.weights)
    for _ in range(POLLS):
        reader.poll(after=STEP)
    after = reader.tail
    assert not [gap for gap in after.gaps if is_due(gap, reader.now)]
    assert (after.turned, after.fewer, after.narrowing, after.unreadable) == (None, None, None, ())
    assert after.sweep is None
    assert not reader.unseen


def test_a_probe_beyond_the_total_moves_back() -> None:
    """Heavy records had made it move on; only one record is left, and the order was suspected."""
    reader = Daemon(world(1, order="asc"))
    doubt = Evidence(since=NOW, last=NOW, answers=1, total=40)
    reader.tail = replace(reader.tail, probe=Probe(number=3), turned=doubt)
    reader.poll()
    reader.poll()
    assert reader.tail.probe.number == 1
    assert reader.tail.turned is None


def test_a_probe_that_shows_nothing_moves_on() -> None:
    """A record that never gets rows tells neither of deletions nor of the order."""
    made = World(order="asc")
    add(made, start=NOW - 9000, rows=False)
    for number in range(3):
        add(made, start=NOW - 600 + number)
    reader = Daemon(made)
    reader.poll()
    add(made, start=reader.now)
    reader.poll()
    assert reader.tail.probe.number == 2
    assert reader.tail.order is Order.ASC


@pytest.mark.parametrize("order", Order)
def test_a_suspicion_without_answers_expires(order: Order) -> None:
    """The first record shows no rows any more: nothing confirms or clears that the order has turned."""
    made = World(order="asc" if order is Order.ASC else "desc")
    add(made, start=NOW - 600, rows=False)
    reader = Daemon(made)
    doubt = Evidence(since=NOW, last=NOW, answers=2, total=1)
    reader.tail = replace(reader.tail, turned=doubt, ends=Ends(order=order))
    for _ in range(10):
        reader.poll()
    assert reader.tail.turned is None


def test_positions_that_can_not_be_read_do_not_hold_up_a_gap_or_a_sweep() -> None:
    """They are tried again by themselves."""
    reader = Daemon(world(10))
    reader.known.clear()
    late = tuple(Unreadable(position=position, due=NOW + 1e9) for position in range(10))
    reader.tail = replace(
        reader.tail, unreadable=late, gaps=(open_gap(4, 6, missing=0, now=NOW),), sweep_due=NOW
    )
    reader.poll()
    assert not [gap for gap in reader.tail.gaps if is_due(gap, reader.now)]
    assert reader.tail.sweep is None


def test_a_position_is_tried_again_though_gaps_are_always_due() -> None:
    """What waits longest comes first."""
    reader = Reader(world(100))
    gap = open_gap(90, 95, missing=1, now=NOW)
    reader.tail = replace(reader.tail, gaps=(gap,), unreadable=(Unreadable(position=20, due=NOW - 300),))
    request = next_page(reader.tail, now=NOW)
    assert request == PageRequest(number=21, size=1, purpose=Purpose.RETRY)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_an_order_that_was_misjudged_is_reversed(order: str) -> None:
    """Two sweeps tell it, and what was missed in that order is found."""
    made = World(order=order)  # type: ignore[arg-type]
    for number in range(900):
        add(made, start=NOW - 86400 * 3 - 300 * number)
    reader = Daemon(made)
    reader.tail = replace(reader.tail, sweep_due=NOW + 3000)
    wrong = Order.DESC if order == "asc" else Order.ASC
    reader.tail = replace(reader.tail, ends=replace(reader.tail.ends, order=wrong, agreed=NOW))
    for _ in range(56):
        add(reader.world, start=reader.now)
        reader.world.delete_oldest(1)
        reader.poll(after=60.0)
    assert reader.tail.order is not wrong
    assert not reader.unseen


def test_an_order_found_by_growth_alone_is_corrected_by_growth() -> None:
    """Deletions had changed the first record each time that records came."""
    reader = Daemon(World(order="asc"))
    add(reader.world, count=60, no_start=True)
    for number in range(8):
        if number < 4:
            reader.world.delete_oldest(1)
        add(reader.world, count=2, no_start=True)
        reader.poll()
    assert reader.tail.order is Order.ASC


@given(rng=st.randoms(use_true_random=False), order=st.sampled_from(list(Order)))
def test_times_of_several_zones_do_not_reverse_an_order(rng: Random, order: Order) -> None:
    """A sweep compares medians."""
    tail = Tail(total=3000, last_total=3000, ends=Ends(order=order), weights=WIDE)
    tail = begin_sweep(tail, now=NOW, oldest=NOW - 86400.0, is_first=False)
    while (request := sweep_page(tail, limit=50)) is not None:
        lo, hi = covered(request, 3000, order)
        starts = [
            NOW - 60 * (3000 - lo - number) + 3600 * rng.choice([0, 0, 0, 0, -8, 5, 8])
            for number in range(hi - lo)
        ]
        items = (item(str(lo + number), start) for number, start in enumerate(starts))
        tail = read(
            tail,
            page(request.number, request.size, 3000, *items),
            {str(number) for number in range(3000)},
            clock=at(NOW),
            purpose=request.purpose,
        ).tail
    assert tail.ends.doubts == 0
    assert tail.ends.agreed == NOW


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("false", [0, 49, 2500])
def test_a_total_that_falls_far_moves_no_sweep_until_it_is_confirmed(order: Order, false: int) -> None:
    """Positions follow from the total: those above a false one would never be read."""
    tail = Tail(total=3000, last_total=3000, accepted_at=NOW, ends=Ends(order=order), weights=WIDE)
    tail = begin_sweep(tail, now=NOW, oldest=NOW - 86400.0, is_first=False)
    request = sweep_page(tail)
    assert request is not None
    tail = read(
        tail, page(request.number, request.size, false), set(), clock=at(NOW), purpose=Purpose.SWEEP
    ).tail
    assert tail.sweep is not None
    assert tail.sweep.walk.at == 3000
    assert sweep_page(tail) is None
    tail = probed(tail, page(1, 1, 3000, item("a")), clock=at(NOW + 15), recheck_interval=300.0)
    assert sweep_page(tail) == request


@pytest.mark.parametrize(
    ("unregistered", "found"), [(LONG_AGO, ["old"]), (NOW - 86400.0 * 30, ["old"]), (NOW, [])]
)
def test_a_sweep_finds_an_unknown_record_whatever_its_window(unregistered: float, found: list[str]) -> None:
    """Another time zone may move its start out of the window. Only where ids are pruned may it be known."""
    tail = Tail(total=1, last_total=1, ends=Ends(order=Order.ASC), weights=WIDE)
    tail = begin_sweep(tail, now=NOW, oldest=NOW - 3600.0, is_first=False)
    answer = page(1, 1, 1, item("old", NOW - 28800.0))
    reading = read(
        tail, answer, set(), clock=at(NOW), purpose=Purpose.SWEEP, unregistered=unregistered, bottom=9.0
    )
    assert [one.item.id for one in reading.fresh if one.is_late] == found
