"""An HTML document and the Content-Security-Policy that it needs. No script, no assets, nothing unescaped."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from exporter.page.markup import Markup, el, join
from exporter.web.server import Page


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
    return files("exporter.page").joinpath("style.css").read_text(encoding="utf-8")
