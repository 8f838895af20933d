"""What keeps YAML and commits tidy: yamllint over the checkout, and hooks that need no download."""

from pathlib import Path

import yaml

from tests.harness.deploy import ROOT, run, tool

HOOKS = ROOT / ".pre-commit-config.yaml"


def test_yamllint_has_nothing_to_say() -> None:
    """No YAML file that git knows, or would take, breaks a rule; warnings count."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.yml", "*.yaml").stdout
    files = [name for name in listed.split() if (ROOT / name).is_file()]
    assert files
    result = run(tool("yamllint"), "--strict", *files)
    assert (result.returncode, result.stdout) == (0, "")


def test_pre_commit_accepts_its_configuration() -> None:
    """The hooks' file is valid."""
    result = run(tool("pre-commit"), "validate-config", str(HOOKS))
    assert result.returncode == 0, result.stdout + result.stderr


def test_hooks_fetch_nothing() -> None:
    """Every hook is local and starts a program that `make venv` has laid into .venv."""
    repositories = yaml.safe_load(HOOKS.read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        program = Path(hook["entry"].split()[0])
        assert hook["language"] == "system"
        assert program.parent == Path(".venv/bin")
        assert Path(tool(program.name)).is_file()
