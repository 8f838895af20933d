"""The tables of the documents are current, and README.zh-CN.md has the parts of README.md."""

import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.docs import tables
from tests.harness.documents import READMES, ROOT, document, slug

ENGLISH, CHINESE = (document(name) for name in READMES)


def test_tables_are_current() -> None:
    """Settings, metrics, alerts and layers stand in the documents as the code has them now."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.tables", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run: make docs\n{done.stdout}{done.stderr}"


def test_tables_are_written_where_they_are_missing(tmp_path: Path) -> None:
    """Without `--check` a stale document is written, with it only named; text around the table stays."""
    write = partial(tables.main, root=tmp_path, documents=["some.md"])
    stale = "before\n<!-- begin: alerts -->\nold\n<!-- end: alerts -->\nafter\n"
    (tmp_path / "some.md").write_text(stale)
    assert write(["--check"]) == 1
    assert (tmp_path / "some.md").read_text() == stale
    assert write([]) == 0
    assert write(["--check"]) == 0
    written = (tmp_path / "some.md").read_text()
    assert written.startswith("before\n<!-- begin: alerts -->\n| Alert | Severity | Summary |\n")
    assert written.endswith("<!-- end: alerts -->\nafter\n")
    assert "old" not in written


def test_both_languages_have_the_same_headings() -> None:
    """Chapters and sections are as many, in the same order and depth."""
    assert [level for level, _ in ENGLISH.headings] == [level for level, _ in CHINESE.headings]


def test_both_languages_show_the_same_code() -> None:
    """Blocks are equal but for comments; what stands between backticks is the same."""
    assert [(block.language, block.working) for block in ENGLISH.blocks] == [
        (block.language, block.working) for block in CHINESE.blocks
    ]
    assert set(ENGLISH.codes) == set(CHINESE.codes)


def test_both_languages_link_to_the_same_places() -> None:
    """Links are the same, those to headings by their order, and each language links to the other."""
    places = [
        [
            f"#{[slug(title) for _, title in doc.headings].index(link[1:])}" if link.startswith("#") else link
            for link in doc.links
            if link not in READMES
        ]
        for doc in (ENGLISH, CHINESE)
    ]
    assert sorted(places[0]) == sorted(places[1])
    assert READMES[1] in ENGLISH.links
    assert READMES[0] in CHINESE.links
