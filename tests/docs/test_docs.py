"""The documents name only what exists, and name what there is."""

import re
import shlex
import tomllib
from typing import cast

import pytest

from exporter import __version__
from exporter.cli.main import COMMANDS
from exporter.jobapi.client import PATHS
from exporter.metrics.families import FAMILIES
from exporter.page.handlers import Landing, routes
from exporter.settings import SPELLINGS, Settings, catalog
from tests.docs import tables
from tests.harness.documents import DOCUMENTS, GUIDES, READMES, ROOT, definitions, document, shell_lines

FOREIGN_FLAGS = {
    "--require-hashes",
    "--no-deps",
    "--build",
    "--enable-feature",
    "--max-block-duration",
}  # of pip, Compose, Prometheus
FOREIGN_NAMES = {"JobApi"}  # a class, not an alert
README_LINES = 200
PATH = r"((?:exporter|tests|docs|deploy|grafana|\.ci)/[\w./-]*|[\w-]+\.(?:toml|lock|md))(?:::(\w+))?"
MACHINE_FOLDERS = ("/etc/", "/var/", "/opt/")  # these paths are not served by anyone
SOURCES = {f"{path.stem}.py" for path in (ROOT / "exporter").glob("*.py")}  # some look like settings: web.py
everywhere = pytest.mark.parametrize("name", DOCUMENTS)
in_both = pytest.mark.parametrize("name", READMES)


@everywhere
def test_every_link_leads_somewhere(name: str) -> None:
    """A link to a file of the checkout, or to a heading in one, finds it."""
    for link in document(name).links:
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in document(str(target.relative_to(ROOT))).anchors, link


@everywhere
def test_every_path_exists(name: str) -> None:
    """A path between backticks is a file or folder of the checkout, a name behind `::` is defined in it."""
    for code in document(name).codes:
        match = re.fullmatch(
            r"((?:exporter|tests|docs|deploy|grafana|\.ci)/[\w./-]*|[\w-]+\.(?:toml|lock|md))(?:::(\w+))?",
            code,
        )
        if match:
            assert (ROOT / match[1]).exists(), code
            assert match[2] is None or match[2] in definitions(ROOT / match[1]), code


@everywhere
def test_every_module_exists(name: str) -> None:
    """A bare `module.py` between backticks is one of the package, `module::` paths aside."""
    named = {code for code in document(name).codes if re.fullmatch(r"\w+\.py", code)}
    assert named <= {path.name for path in (ROOT / "exporter").rglob("*.py")}


@everywhere
def test_every_setting_and_variable_exists(name: str) -> None:
    """`group.name` between backticks is a setting, JOB_EXPORTER_… anywhere a variable of one."""
    groups = "|".join({info.group for info in catalog() if info.group})
    doc = document(name)
    named = {re.match(rf"(?:--)?((?:{groups})\.[a-z-]+)(?:=.*)?$", code) for code in doc.codes}
    assert {match[1] for match in named if match} - SOURCES <= {info.name for info in catalog()}
    assert set(re.findall(r"JOB_EXPORTER_\w+", doc.text)) <= {info.env for info in catalog()}


@everywhere
def test_every_flag_exists(name: str) -> None:
    """Each flag is a setting's, a command's, or of a foreign program that is named here."""
    helps = [command.help() for command in COMMANDS.values()]
    commands = set(re.findall(r"--[a-z-]+", "\n".join(helps)))
    lines = [line for line in shell_lines(document(name)) if not line.startswith("docker ")]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*", "\n".join([*lines, *document(name).codes])))
    assert named <= {info.flag for info in catalog()} | {*SPELLINGS} | commands | FOREIGN_FLAGS


@everywhere
def test_every_metric_exists(name: str) -> None:
    """Each job_… name is a metric family, one of its parts, a recorded series or a table of the ledger."""
    families = {family.name for family in FAMILIES}
    parts = {f"{name}{part}" for name in families for part in ("_bucket", "_sum", "_count")}
    of_the_ledger = {"job_exporter_meta"}
    text = document(name).text
    recorded = set(re.findall(r"\bjob\w*:\w+:\w+", text))
    assert recorded <= {rule["record"] for rule in tables.rules() if "record" in rule}
    named = set(re.findall(r"(?<!:)\bjob_[a-z_]*[a-z]\b(?!:)", text))
    assert named - parts - of_the_ledger - {"job_name"} <= families


@everywhere
def test_every_alert_exists(name: str) -> None:
    """Each name of the form of an alert is one in the rules."""
    named = set(re.findall(r"\bJob(?:Exporter)?[A-Z][a-z]\w*", document(name).text)) - FOREIGN_NAMES
    assert named <= {rule["alert"] for rule in tables.rules() if "alert" in rule}


@everywhere
def test_every_target_and_command_exists(name: str) -> None:
    """Each `make target` is in the Makefile, each `job-exporter command` is one, each tool is in .venv."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in shell_lines(document(name)):
        words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[0] == "job-exporter":
            assert words[1] in COMMANDS, line
        elif words[0].startswith(".ci/"):
            assert (ROOT / words[0]).exists(), line


@everywhere
def test_every_path_of_a_url_is_served(name: str) -> None:
    """What begins with a slash between backticks is served by the exporter, or asked of the platform."""
    web = {"/", "/-/healthy", "/-/ready", Settings().web.telemetry_path}
    page = set(routes(cast("Landing", None), ""))
    codes = (code for code in document(name).codes if not code.startswith(MACHINE_FOLDERS))
    named = {code for code in codes if re.fullmatch(r"/[\w/.-]*", code)}
    assert named <= web | page | set(PATHS.values())


@everywhere
def test_every_python_module_that_is_run_exists(name: str) -> None:
    """What is shown behind `python -m`, or as a script, is there."""
    for module in re.findall(r"python3? -m ([\w.]+)", document(name).text):
        path = ROOT / module.replace(".", "/")
        assert module == "venv" or path.with_suffix(".py").exists() or (path / "__main__.py").exists()
    for script in re.findall(r"bin/python ([\w./]+\.py)", document(name).text):
        assert (ROOT / script).exists()


@in_both
def test_a_newcomer_can_read_it_in_one_sitting(name: str) -> None:
    """README has a title and at most 200 lines."""
    assert document(name).headings[0] == (1, "job-exporter")
    assert len(document(name).text.splitlines()) <= README_LINES


@in_both
def test_every_guide_is_linked(name: str) -> None:
    """README leads to each document of the folder docs."""
    assert set(document(name).links) >= set(GUIDES)


@in_both
def test_every_command_is_named(name: str) -> None:
    """A newcomer meets each command of the program."""
    assert set(re.findall(r"job-exporter ([a-z]+)\b", document(name).text)) >= set(COMMANDS)


def test_the_architecture_names_every_package() -> None:
    """Its table has a row for each package and module of `exporter/`."""
    first = re.findall(r"^\| (`exporter/[^|]*)\|", document("ARCHITECTURE.md").text, re.MULTILINE)
    there = {
        f"exporter/{path.name}{'/' if path.is_dir() else ''}"
        for path in (ROOT / "exporter").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(re.findall(r"`([^`]+)`", "".join(first))) == there - {"exporter/__init__.py"}


def test_the_architecture_calls_pure_what_is_checked_to_be() -> None:
    """Each package that import-linter holds to be pure is called so, and no other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = [one["source_modules"] for one in contracts if "pure packages" in one["name"]]
    rows = re.findall(r"^\| `(exporter/[a-z]+).*\bPure \|", document("ARCHITECTURE.md").text, re.MULTILINE)
    assert {row.replace("/", ".") for row in rows} == set(pure)


def test_the_changelog_knows_this_version() -> None:
    """It has the form of Keep a Changelog, and tells of the version of the program."""
    doc = document("CHANGELOG.md")
    versions = [title for level, title in doc.headings if level == 2]
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", title) for title in versions[1:])
    assert __version__ in doc.text
