"""The command `assets`: the files it writes, and when it refuses to."""

from pathlib import Path

import pytest

from exporter.cli.assets import sources
from exporter.cli.main import main
from tests.harness.deploy import ROOT

Captured = pytest.CaptureFixture[str]


def ran(*argv: str) -> object:
    """Run the command and give its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["assets", *argv], {})
    return ended.value.code


def files(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_are_those_of_the_checkout(tmp_path: Path, capsys: Captured) -> None:
    """Dashboards, provisioning, rules, examples and the runbook are written unchanged."""
    assert ran(str(tmp_path / "new" / "folder")) == 0
    written = files(tmp_path / "new" / "folder")
    parts = {
        "dashboards": ROOT / "grafana" / "dashboards",
        "provisioning": ROOT / "grafana" / "provisioning",
        "prometheus": ROOT / "deploy" / "prometheus",
        "systemd": ROOT / "deploy" / "systemd",
    }
    expected = {f"{name}/{file}": data for name, path in parts.items() for file, data in files(path).items()}
    assert written == expected | {"runbook.md": (ROOT / "docs" / "alerts.md").read_bytes()}
    told = capsys.readouterr().out
    assert [
        name for name in (*parts, "runbook.md") if f"{tmp_path / 'new' / 'folder' / name}" not in told
    ] == []


def test_an_installation_writes_what_is_in_the_package(tmp_path: Path) -> None:
    """Where the package has the folder `assets`, as in a wheel, the files come from there."""
    (tmp_path / "exporter" / "assets" / "dashboards").mkdir(parents=True)
    assert sources(tmp_path / "exporter") == {"dashboards": tmp_path / "exporter" / "assets" / "dashboards"}


def test_a_folder_with_files_is_refused(tmp_path: Path, capsys: Captured) -> None:
    """Nothing is overwritten unless --force is given; other files stay."""
    mine = tmp_path / "prometheus" / "rules" / "thresholds.yml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (tmp_path / "other").write_text("other")
    assert ran(str(tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert set(files(tmp_path)) == {"prometheus/rules/thresholds.yml", "other"}
    assert ran(str(tmp_path), "--force") == 0
    assert mine.read_bytes() == (ROOT / "deploy" / "prometheus" / "rules" / "thresholds.yml").read_bytes()
    assert (tmp_path / "other").read_text() == "other"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "DIR"),
        (("{folder}/file/below",), "cannot write"),
        (("{folder}/file",), "cannot write"),
        (("x", "--forse"), "nearest known one is --force"),
    ],
)
def test_a_wrong_command_is_one_line(
    argv: tuple[str, ...], message: str, tmp_path: Path, capsys: Captured
) -> None:
    """A missing folder, one that cannot be made and an unknown flag are errors of one line, with status 2."""
    (tmp_path / "file").write_text("")
    assert ran(*(one.format(folder=tmp_path) for one in argv)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
