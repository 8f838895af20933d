"""An HTML document and the Content-Security-Policy that it needs. No script, no assets, nothing unescaped."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from exporter.landing.markup import Markup, el, join

PLAIN_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
p.state { border-left: .3rem solid; padding-left: .7rem; }
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """An HTML document, and the Content-Security-Policy that it needs."""

    html: str
    policy: str


def policy(style: str) -> str:
    """Give the strictest Content-Security-Policy for a page whose one `<style>` holds `style`."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def document(*, title: str, style: str, body: Markup, refresh: int | None = None) -> Page:
    """Make a page; `refresh`: seconds after which a browser asks again, None for never."""
    head = join(
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", http_equiv="refresh", content=refresh) if refresh else None,
        el("title", title),
        el("style", Markup(style)),
    )
    html = join(Markup("<!DOCTYPE html>\n"), el("html", el("head", head), el("body", body), lang="en"))
    return Page(html=str(html) + "\n", policy=policy(style))


@cache
def stylesheet() -> str:
    """Give the style of the pages that are more than plain."""
    return files("exporter.landing").joinpath("style.css").read_text(encoding="utf-8")


def plain_page(*, version: str, waiting_for: str | None, links: Sequence[tuple[str, str]]) -> Page:
    """Make the page of an exporter that is ready, or not yet for the reason given; links: (path, words)."""
    state = "Ready." if waiting_for is None else f"Not ready: {waiting_for}"
    items = (el("li", el("a", path, href=path), " ", words) for path, words in links)
    body = join(el("h1", f"job-exporter {version}"), el("p", state, class_="state"), el("ul", *items))
    return document(title="job-exporter", style=PLAIN_STYLE, body=body)
