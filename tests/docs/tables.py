"""The tables of the documents, written from the code: `python -m tests.docs.tables`, or `--check`.

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
from tests.docs import zh

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "rules" / "alerts.yml"
BLOCK = re.compile(r"(?<=<!-- begin: )(\w+)( -->\n).*?(?=<!-- end: \1 -->)", re.DOTALL)

# How a text of the code reads in the language of a document.
Tongue = Callable[[str], str]


def english(text: str) -> str:
    """Give the text as it is."""
    return text


DOCUMENTS: Mapping[str, Tongue] = {
    "README.md": english,
    "README.zh-CN.md": zh.translated,
    "ARCHITECTURE.md": english,
}


def settings(tongue: Tongue) -> str:
    """Every setting: its name, variable, default and meaning."""
    rows = (
        (
            f"`{info.name}`",
            f"`{info.env}`",
            f"`{info.default}`" if info.default else "",
            tongue(info.description),
        )
        for info in catalog()
    )
    return _table([tongue(head) for head in ("Setting", "Variable", "Default", "Meaning")], rows)


def metrics(tongue: Tongue) -> str:
    """Every metric family: its name, type, labels with the values they can have, and meaning."""
    rows = ((f"`{family.name}`", family.type, _labels(family), tongue(family.help)) for family in FAMILIES)
    return _table([tongue(head) for head in ("Metric", "Type", "Labels", "Meaning")], rows)


def alerts(tongue: Tongue) -> str:
    """Every alert: its name with a link to the runbook, severity, and what it says."""
    rows = (
        (
            f"[{rule['alert']}](deploy/runbook.md#{rule['alert'].lower()})",
            rule["labels"]["severity"],
            tongue(rule["annotations"]["summary"].replace("{{ $labels.idc }}", "an IDC")),
        )
        for rule in alert_rules()
    )
    return _table([tongue(head) for head in ("Alert", "Severity", "Says")], rows)


def layers(_tongue: Tongue) -> str:
    """The layers that import-linter checks, the highest first; each imports only from below."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return "\n".join(["```text", *(row.replace("exporter.", "") for row in rows), "```", ""])


def alert_rules() -> Iterable[dict[str, Any]]:
    """The alerts, as they stand in their file."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


TABLES: Mapping[str, Callable[[Tongue], str]] = {
    "settings": settings,
    "metrics": metrics,
    "alerts": alerts,
    "layers": layers,
}


def current(text: str, tongue: Tongue) -> str:
    """Give a document as it is to be, its tables written anew. Raises KeyError: no such table."""
    return BLOCK.sub(lambda match: match[1] + match[2] + TABLES[match[1]](tongue), text)


def main(argv: list[str], *, root: Path = ROOT, documents: Mapping[str, Tongue] = DOCUMENTS) -> int:
    """Write the tables; with `--check` only tell which documents are not current (status 1).

    A text without a translation is told, and nothing is written (status 2).
    """
    parser = argparse.ArgumentParser(prog="python -m tests.docs.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(argv).check
    had = {name: (root / name).read_text(encoding="utf-8") for name in documents}
    try:
        stale = {
            name: text
            for name, tongue in documents.items()
            if (text := current(had[name], tongue)) != had[name]
        }
    except LookupError as error:
        sys.stdout.write(f"{error.args[0]}\n")
        return 2
    for name, text in stale.items():
        sys.stdout.write(f"{name}: {'not current' if check else 'written'}\n")
        if not check:
            (root / name).write_text(text, encoding="utf-8")
    return int(check and bool(stale))


def _labels(family: Family) -> str:
    known = (
        f": {', '.join(family.known[label])}" if label in family.known else "" for label in family.labels
    )
    return "; ".join(f"`{label}`{values}" for label, values in zip(family.labels, known, strict=True))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table; a pipe inside a cell would end it."""
    lines = [tuple(heads), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    lines.insert(1, tuple("---" for _ in lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
