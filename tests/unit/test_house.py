"""The house rules: style, types, who may import whom, and what no committed file may hold."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str) -> None:
    """Run a tool of the environment in the project's folder; what it says is the reason for failing."""
    result = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def committed() -> dict[str, str]:
    """Text of every committed file by path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [path for path in listed.stdout.decode().split("\0") if path and (ROOT / path).is_file()]
    return {path: (ROOT / path).read_bytes().decode(errors="replace") for path in paths}


def test_style_when_checked_has_no_finding() -> None:
    run("ruff", "check", ".")


def test_format_when_checked_has_no_finding() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.timeout(300)
@pytest.mark.timeout(600)  # without mypy's cache it reads every library
def test_types_when_checked_strictly_have_no_finding() -> None:
    run("mypy")


def test_imports_when_checked_keep_the_rules() -> None:
    run("lint-imports")


INDEX = re.compile(
    r"pypi\.org/simple|pythonhosted\.org|repo1?\.maven\.(apache\.)?org|registry\.npmjs|deb\.debian\.org|"
    r"\bartifactory\b|\bnexus\b|(^|\s)(--index-url|--extra-index-url|--find-links|--trusted-host)\b",
    re.IGNORECASE | re.MULTILINE,
)


def test_committed_files_when_searched_name_no_package_index(committed: dict[str, str]) -> None:
    own = Path(__file__).relative_to(ROOT).as_posix()
    found = {path: match[0] for path, text in committed.items() if path != own and (match := INDEX.search(text))}
    assert not found


@pytest.mark.parametrize(
    "line", ["--index-url https://example.org/simple", "  --find-links /wheels", "https://files.pythonhosted.org/x"]
)
def test_index_pattern_when_given_an_index_finds_it(line: str) -> None:
    assert INDEX.search(f"first\n{line}\n")


def pinned() -> dict[str, str]:
    """Version by name in the lock."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = (re.match(r"([a-z0-9][a-z0-9._-]*)==(\S+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def required() -> Iterator[Requirement]:
    """Every requirement in pyproject.toml, of all extras and groups, that is not gridtape itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["build-system"]["requires"], project["project"]["dependencies"]]
    groups += project["project"]["optional-dependencies"].values()
    groups += project["dependency-groups"].values()
    for group in groups:
        yield from (each for each in map(Requirement, group) if each.name != "gridtape")


def test_lock_when_compared_with_pyproject_satisfies_every_requirement() -> None:
    lock = pinned()
    unmet = [
        str(each) for each in required() if not each.specifier.contains(lock.get(canonicalize_name(each.name), "0"))
    ]
    assert not unmet, "run `make lock`"


def test_lock_when_compared_with_the_extras_of_libraries_holds_what_they_need() -> None:
    lock = pinned()
    chosen = [(each.name, extra) for each in required() for extra in each.extras]
    assert chosen
    missing = [
        f"{name}[{extra}] needs {need.name}"
        for name, extra in chosen
        for need in map(Requirement, requires(name) or ())
        if need.marker and need.marker.evaluate({"extra": extra}) and canonicalize_name(need.name) not in lock
    ]
    assert not missing, "run `make lock`"


def test_lock_when_read_has_a_hash_for_every_package() -> None:
    blocks = re.split(r"(?m)^(?=[a-z0-9])", (ROOT / "requirements.txt").read_text())[1:]
    assert len(blocks) == len(re.findall(r"(?m)^[a-z0-9][^#\n]*==", (ROOT / "requirements.txt").read_text()))
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_make_when_called_without_target_lists_every_documented_one() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("install", "demo", "test", "lint", "bench", "docs", "contracts", "lock", "clean"):
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), target


def test_ci_when_read_ends_with_the_documented_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().splitlines()[-1] == "make test"
