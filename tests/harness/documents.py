"""What the tests of the documents share: the parts of a Markdown text, and what its names may be."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
GUIDES = tuple(sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
DOCUMENTS = (*READMES, *GUIDES, "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language, and its lines without the indentation of a list."""

    language: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Give the lines as one text."""
        return "\n".join(self.lines) + "\n"

    @property
    def working(self) -> tuple[str, ...]:
        """Give the lines that do something: comments are in the language of the document."""
        kept = (re.sub(r"(^|\s+)# .*$", "", line).rstrip() for line in self.lines)
        return tuple(line for line in kept if line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A Markdown text in parts; `prose` is all but the fenced blocks."""

    name: str
    text: str
    prose: str
    blocks: tuple[Block, ...]
    headings: tuple[tuple[int, str], ...]  # (level, title)
    links: tuple[str, ...]
    codes: tuple[str, ...]  # texts between single backticks

    @property
    def anchors(self) -> frozenset[str]:
        """Give the anchors of the headings."""
        return frozenset(slug(title) for _, title in self.headings)


@cache
def document(name: str) -> Document:
    """Read the document `name`, a path from the root of the checkout."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = []
    for indent, language, body in _FENCE.findall(text):
        lines = tuple(line.removeprefix(indent) for line in body.splitlines())
        blocks.append(Block(language=language, lines=lines))
    prose = _FENCE.sub("", text)
    return Document(
        name=name,
        text=text,
        prose=prose,
        blocks=tuple(blocks),
        headings=tuple((len(marks), title) for marks, title in _HEADING.findall(prose)),
        links=tuple(_LINK.findall(prose)),
        codes=tuple(_CODE.findall(prose)),
    )


def slug(title: str) -> str:
    """Give the anchor of a heading as GitHub makes it: lower case, letters, digits and hyphens."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def shell_lines(doc: Document) -> Iterator[str]:
    """Give each line of the shell blocks that does something, and the commands between backticks."""
    for block in doc.blocks:
        if block.language == "sh":
            yield from block.working
    yield from (code for code in doc.codes if re.match(r"(job-exporter|make|docker|\.venv/bin/\S+) \S", code))


@cache
def definitions(path: Path) -> frozenset[str]:
    """Give the names of all functions and classes in a Python file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))
