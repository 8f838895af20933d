"""The page at `/`: a plain one, with links to what there is. No script, no assets, nothing unescaped."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
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


def plain_page(*, version: str, waiting_for: str | None, links: Sequence[tuple[str, str]]) -> Page:
    """Make the page of an exporter that is ready, or not yet for the reason given; links: (path, words)."""
    state = "Ready." if waiting_for is None else f"Not ready: {waiting_for}"
    items = "\n".join(
        f'<li><a href="{escape(path)}">{escape(path)}</a> {escape(text)}</li>' for path, text in links
    )
    html = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>job-exporter</title>
<style>{STYLE}</style>
</head>
<body>
<h1>job-exporter {escape(version)}</h1>
<p class="state">{escape(state)}</p>
<ul>
{items}
</ul>
</body>
</html>
"""
    return Page(html=html, policy=policy(STYLE))
