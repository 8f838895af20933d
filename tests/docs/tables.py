"""The tables of the documents, written from the code: `make docs`, or `python -m tests.docs.tables --check`.

A table stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; whatever is between them is replaced.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from exporter.metrics.families import FAMILIES, Family
from exporter.settings import catalog

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
BLOCK = re.compile(r"(?<=<!-- begin: )(\w+)( -->\n).*?(?=<!-- end: \1 -->)", re.DOTALL)
DOCUMENTS = ("docs/configuration.md", "docs/metrics.md", "docs/alerts.md", "ARCHITECTURE.md")


def settings() -> str:
    """Every setting: its name, variable, default and meaning."""
    rows = (
        (f"`{info.name}`", f"`{info.env}`", f"`{info.default}`" if info.default else "", info.description)
        for info in catalog()
    )
    return _table(("Setting", "Variable", "Default", "Meaning"), rows)


def metrics() -> str:
    """Every metric family: its name, type, labels with the values they can have, and meaning."""
    rows = ((f"`{family.name}`", family.type, _labels(family), family.help) for family in FAMILIES)
    return _table(("Metric", "Type", "Labels", "Meaning"), rows)


def alerts() -> str:
    """Every alert: its name with a link to its section of the runbook, severity, and summary."""
    rows = (
        (
            f"[{rule['alert']}](#{rule['alert'].lower()})",
            rule["labels"]["severity"],
            rule["annotations"]["summary"].replace("{{ $labels.idc }}", "an IDC"),
        )
        for rule in rules()
        if "alert" in rule
    )
    return _table(("Alert", "Severity", "Summary"), rows)


def layers() -> str:
    """The layers that import-linter checks, the highest first; each imports only from below."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return "\n".join(["```text", *(row.replace("exporter.", "") for row in rows), "```", ""])


def rules() -> Iterable[dict[str, Any]]:
    """The alerts and recorded series, in the order of their files."""
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "metrics": metrics,
    "alerts": alerts,
    "layers": layers,
}


def current(text: str) -> str:
    """Give a document with its tables written anew. Raises KeyError: no such table."""
    return BLOCK.sub(lambda match: match[1] + match[2] + TABLES[match[1]](), text)


def main(argv: list[str], *, root: Path = ROOT, documents: Iterable[str] = DOCUMENTS) -> int:
    """Write the tables; with `--check` only name the documents that are not current (status 1)."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(argv).check
    stale = 0
    for path in (root / name for name in documents):
        text = path.read_text(encoding="utf-8")
        if (new := current(text)) == text:
            continue
        stale += 1
        sys.stdout.write(f"{path.relative_to(root)}: {'not current' if check else 'written'}\n")
        if not check:
            path.write_text(new, encoding="utf-8")
    return int(check and bool(stale))


def _labels(family: Family) -> str:
    return "; ".join(
        f"`{label}`" + (f": {', '.join(values)}" if values else "") for label, values in family.labels.items()
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table; a pipe inside a cell would end it."""
    lines = [tuple(heads), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    lines.insert(1, tuple("---" for _ in lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
