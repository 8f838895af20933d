"""What pyproject.toml says of the wheel: its files, its long description, its dependencies."""

import re
import sys
import tomllib
from typing import Any

from packaging.requirements import Requirement

from tests.harness.deploy import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HATCH = PROJECT["tool"]["hatch"]


def description() -> str:
    """Give the long description as the build makes it, but for the version in its links."""
    hook = HATCH["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / fragment["path"]).read_text(encoding="utf-8") for fragment in hook["fragments"])
    for step in hook["substitutions"]:
        text = re.sub(step["pattern"], step["replacement"], text)
    return text


def test_the_wheel_gets_files_that_exist() -> None:
    """What goes into the wheel is in the checkout and in the source distribution."""
    targets = HATCH["build"]["targets"]
    for source in targets["wheel"]["force-include"]:
        assert (ROOT / source).exists()
        assert any(re.match(rf"{re.escape(one)}(/|$)", source) for one in targets["sdist"]["only-include"])


def test_links_of_the_description_work_outside_the_repository() -> None:
    """Every link is absolute, pictures lead to the file itself, and what was absolute stays as it is."""
    plain = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)|()<img[^>]* src=\"([^\"]+)", description())
    links = [(bool(mark) or bool(image), target or image) for mark, target, _, image in found]
    assert len(links) >= 3
    home = PROJECT["project"]["urls"]["Homepage"]
    raw = home.replace("https://github.com", "https://raw.githubusercontent.com")
    for is_picture, target in links:
        own = target.startswith((f"{home}/blob/v$HFPR_VERSION/", f"{raw}/v$HFPR_VERSION/"))
        assert own or (target.startswith("https://") and target in plain), target
        assert not (is_picture and own) or target.startswith(raw), target
        if own:
            path = target.partition("$HFPR_VERSION/")[2].partition("#")[0]
            assert (ROOT / path).exists(), path


def test_every_dependency_has_both_bounds() -> None:
    """Each direct dependency has a lower bound, which `.ci/lowest` tests, and an upper one."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    for line in [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]:
        operators = sorted(one.operator for one in Requirement(line).specifier)
        assert operators == ["<", ">="], line


def test_what_is_imported_is_declared() -> None:
    """Every library that the package imports is a dependency by itself, not only one of another's."""
    modules = {"yaml": "pyyaml", "prometheus_client": "prometheus-client"}
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]
    declared = {Requirement(line).name for line in lines}
    imported = {
        name
        for path in (ROOT / "exporter").rglob("*.py")
        for name in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    foreign = imported - set(sys.stdlib_module_names) - {"exporter"}
    assert {modules.get(name, name.replace("_", "-")) for name in foreign} <= declared
