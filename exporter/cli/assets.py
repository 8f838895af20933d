"""The command `assets`: writes the dashboards, rules and example configurations that match this version.

A wheel contains them in `exporter/assets`. In a checkout, the table in pyproject.toml names them.
"""

import argparse
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.settings import SettingsError
from exporter.settings.reading import FlagParser, parse

PACKAGE = Path(__file__).resolve().parent.parent


def assets(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write the files to a directory and print what each is for. Raises SettingsError."""
    del environ
    given = parse(assets_parser(), argv)
    if given.DIR is None:
        raise SettingsError("a directory is required; run: job-exporter assets DIR")
    folder = Path(given.DIR)
    try:
        if folder.exists() and any(folder.iterdir()) and not given.force:
            raise SettingsError(
                f"{folder} is not empty; give another folder, or --force to overwrite its files"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in sources().items():
            if source.is_dir():  # copy contents and modes, not the times
                shutil.copytree(source, folder / name, dirs_exist_ok=True, copy_function=shutil.copy)
            else:
                shutil.copy(source, folder / name)
    except shutil.Error as error:  # of several files: (source, target, why) of each
        _, target, why = error.args[0][0]
        raise SettingsError(f"cannot write {target}: {why}") from None
    except OSError as error:
        raise SettingsError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    print(
        f"{folder / 'dashboards'}: dashboards for Grafana; {folder / 'provisioning'} loads them"
        f"\n{folder / 'prometheus'}: rules, and example configurations of Prometheus and Alertmanager"
        f"\n{folder / 'systemd'}: a unit, and an example configuration of the exporter"
        f"\n{folder / 'runbook.md'}: what to do for each alert"
    )
    return 0


def assets_parser() -> argparse.ArgumentParser:
    """Flags of `assets`."""
    parser = FlagParser()
    parser.add_argument("DIR", nargs="?", help="directory to write to; created if it does not exist")
    parser.add_argument("--force", action="store_true", help="write into a directory that is not empty")
    return parser


def sources(package: Path = PACKAGE) -> dict[str, Path]:
    """All files and folders to write: the name in DIR → the source."""
    packaged = package / "assets"
    if packaged.is_dir():
        return {path.name: path for path in packaged.iterdir()}
    project = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    return {
        Path(target).name: package.parent / source
        for source, target in included.items()
        if Path(target).parent == Path("exporter/assets")
    }
