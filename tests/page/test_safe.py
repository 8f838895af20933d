"""With any names from the platform, the page stays well formed and names stay text."""

import json

from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

from exporter.discovery.tail import Tail, Unreadable
from exporter.page.format import visible
from exporter.page.handlers import failures_json
from exporter.page.render import LONGEST_NAME, environment
from exporter.tracking.tallies import Tally
from exporter.tracking.values import Tracked
from tests.harness.page import Reader, ended, failed, html, keeping, snapshot

HOSTILE = (
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<svg/onload=alert(1)>",
    "<!--",
    "]]><b>",
    "&lt;b&gt;&#60;",
    "javascript:alert(1)",
    "\u202egnihtyna\u2066",
    "\x00\x1b[31m\x7f\x85",
    "\ud800",
    "a\u0300" * 500,
    "x" * 10_000,
    "-->" * 4_000,
    "{id}",
)
name = environment().get_template("macros.html").module.name  # type: ignore[attr-defined]
NAMES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=()), max_size=80),
    st.text("<>&\"'/=!-[] \t\n\u202e\u2028", max_size=40),
)


def page_of(idc: str, record: str, error: str) -> str:
    """Make the page of a platform that gives these names."""
    kept = keeping(
        failures=[failed(record, idc=idc)],
        recent=ended({5: Tally(hosts={idc: {"fail": 1}})}),
        tail=Tail(unreadable=(Unreadable(position=7, due=0.0, reason="e" + error),)),
        followed={record: Tracked(id=record, found=0.0, due=0.0, unread=2, reason="e" + error)},
    )
    return html(snapshot(hosts={idc: {"success": 1, "fail": 1}}, unreadable=2), kept, error="e" + error)


PLAIN = Reader(page_of("plain", "plain", "plain"))


@given(idc=NAMES, record=NAMES, error=NAMES)
@example(idc="</title><script>", record="</table>", error="</p>")
def test_any_name_leaves_the_page_as_it_is(idc: str, record: str, error: str) -> None:
    """With any names the page has the same elements in the same order as with plain names."""
    source = page_of(idc, record, error)
    told = Reader(source)
    tags = [element.tag for element in told.elements if element.tag != "a" or "rel" not in element.attributes]
    assert tags == [one.tag for one in PLAIN.elements if one.tag != "a" or "rel" not in one.attributes]
    assert {key for one in told.elements for key in one.attributes} <= {
        key for one in PLAIN.elements for key in one.attributes
    }
    source.encode()  # half characters would not pass


@given(value=NAMES)
def test_a_name_is_kept_as_text(value: str) -> None:
    """A name is shown as text, cut if it is long, with invisible characters replaced."""
    (shown,) = Reader(name(value)).find("bdi")
    if not value:
        assert shown.text == "(none)"
    elif len(value) <= LONGEST_NAME:
        assert shown.text == visible(value)
    else:
        assert shown.text == visible(value[: LONGEST_NAME - 1]) + "…"
        assert shown.attributes["title"] == visible(value[:300])


@given(value=NAMES)
def test_nothing_invisible_is_shown(value: str) -> None:
    """Controls, bidirectional marks and half characters are replaced, one for one; the rest stays."""
    seen = visible(value)
    assert len(seen) == len(value)
    assert seen.isprintable()
    assert all(new in {old, " ", "\ufffd"} for old, new in zip(value, seen, strict=True))
    assert visible("杭州　é 😀") == "杭州 é 😀"


@given(record=NAMES, idc=NAMES)
def test_any_name_goes_through_json(record: str, idc: str) -> None:
    """The JSON is ASCII and gives every name back."""
    raw = failures_json([failed(record, idc=idc)], "http://x/{id}")
    assert raw.isascii()
    (item,) = json.loads(raw)["failures"]
    assert (item["id"], item["idcs"][0]["idc"]) == (record, idc)


def test_every_template_escapes() -> None:
    """A value is escaped once; text that is HTML already stays."""
    template = environment().from_string('<p title="{{ value }}">{{ value }}{{ markup }}</p>')
    made = template.render(value="<&\"'\x00", markup=Markup("<b>"))
    assert made == '<p title="&lt;&amp;&#34;&#39;\ufffd">&lt;&amp;&#34;&#39;\ufffd<b></p>'
