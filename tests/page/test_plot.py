"""The plot: its arithmetic, its drawing and its texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.page.format import number
from exporter.page.plot import HEIGHT, LEAST, STACK, nice, segments
from exporter.page.render import environment
from exporter.tracking.tallies import Tally
from tests.harness.page import NOW, Reader, ended, html, keeping, page_data

plot, table = (getattr(environment().get_template("plot.html").module, name) for name in ("drawing", "table"))
share_bar = environment().get_template("macros.html").module.share_bar  # type: ignore[attr-defined]
RESULTS = [str(status) for status in STACK]
COUNTS = st.dictionaries(st.sampled_from(RESULTS), st.integers(0, 10**7))


@pytest.mark.parametrize(
    ("greatest", "top"),
    [(0, 2), (1, 2), (2, 2), (3, 4), (5, 10), (11, 20), (21, 40), (41, 100), (99_999, 100_000)],
)
def test_the_axis_ends_at_a_round_number(greatest: int, top: int) -> None:
    """The axis ends at a round number whose half is whole."""
    assert nice(greatest) == top


@given(counts=COUNTS)
def test_a_bar_is_cut_by_its_counts(counts: dict[str, int]) -> None:
    """The parts of a bar start at 0, keep their order, are never too thin, and fit into the bar."""
    top = nice(sum(counts.values()))
    parts = segments(counts, STACK, whole=top, length=HEIGHT)
    assert [part.status for part in parts] == [status for status in RESULTS if counts.get(status)]
    end = 0.0
    for part in parts:
        assert part.at == pytest.approx(end)
        assert part.size >= LEAST - 1e-6
        end = part.at + part.size
    assert end <= HEIGHT + 1e-6


@given(counts=COUNTS.filter(any))
def test_what_is_large_has_its_length(counts: dict[str, int]) -> None:
    """A part is as long as its share, except for the minimum given to small parts."""
    whole = sum(counts.values())
    for part in segments(counts, STACK, whole=whole, length=HEIGHT):
        assert abs(part.size - HEIGHT * counts[part.status] / whole) <= LEAST * len(STACK)


def test_the_plot_draws_each_stretch() -> None:
    """A bar for each stretch in which records ended, failures at the bottom, and its numbers in words."""
    recent = ended({0: Tally(results={"success": 30, "fail": 10}), 62: Tally(results={"timeout": 1})})
    told = Reader(plot(page_data(kept=keeping(recent=recent)).window, NOW))
    assert [title.text for title in told.find("title")] == [
        "Records by result; the numbers are in the table below",
        "06:55 to 07:00: 1 timeout",
        "08:00 to 08:05: 30 success, 10 fail",
    ]
    drawn = [
        tuple(rect.attributes[name] for name in ("class", "x", "y", "height"))
        for rect in told.find("rect", "fill")
    ]
    assert drawn == [
        ("fill timeout", "581", "156", "4"),
        ("fill fail", "711", "120", "40"),
        ("fill success", "711", "0", "120"),
    ]
    assert [span.text for span in told.find("div", "scale")] == ["40200"]
    assert [span.text for span in told.find("div", "ticks")] == ["02:0503:0504:0505:0506:0507:0508:05"]


def test_the_plot_is_told_to_who_does_not_see_it() -> None:
    """The drawing has a name, and the hours are in a table."""
    recent = ended({0: Tally(results={"success": 1_000}), 300: Tally(results={"fail": 1, "success": 2})})
    window = page_data(kept=keeping(recent=recent)).window
    (svg,) = [
        one for one in Reader(html(kept=keeping(recent=recent))).find("svg") if "role" in one.attributes
    ]
    assert svg.attributes["aria-labelledby"] == "plot-title"
    rows = [row.text for row in Reader(table(window, NOW)).find("tr")]
    assert rows[0] == "Fromsuccesscancelledunknowntimeoutfail"
    assert rows[1] == "07:051,0000000"
    assert rows[-1] == "02:0520001"
    assert len(rows) == 7


def test_an_idc_has_a_bar() -> None:
    """The bar of an IDC shows all its hosts; it is empty without hosts."""
    told = Reader(share_bar({"success": 3, "fail": 1}))
    assert [(rect.attributes["class"], rect.attributes["width"]) for rect in told.find("rect")] == [
        ("fill fail", "25"),
        ("fill success", "75"),
    ]
    assert Reader(share_bar({})).find("rect") == []
    assert number(0) == "0"
