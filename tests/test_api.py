"""The public API of each distribution, as files that a reviewer reads: nothing comes, goes or changes by accident."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "api"
_spec = importlib.util.spec_from_file_location("subwatch_tests_listing", FOLDER / "listing.py")
made = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = made
_spec.loader.exec_module(made)

CURE = """\
The public API of {name} is not what tests/api/{name}.txt says (above: - as listed, + as it is).
If that is meant: python tests/test_api.py writes the files anew; commit them with a line in CHANGELOG.md.
What is to go must first warn with DeprecationWarning for a minor version (README, Compatibility).
"""


@pytest.mark.parametrize("name", made.PUBLIC)
def test_public_api(name):
    listed, now = (FOLDER / f"{name}.txt").read_text("utf-8"), made.listing(name)
    if now != listed:
        changes = difflib.unified_diff(listed.splitlines(), now.splitlines(), "listed", "now", "", "", 2, "")
        pytest.fail("\n".join(changes) + "\n\n" + CURE.format(name=name), pytrace=False)


@pytest.mark.parametrize("name", made.PUBLIC["subwatch"])
def test_public_names_are_there(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for exported in module.__all__:
        assert getattr(module, exported) is not None


if __name__ == "__main__":
    for package in made.PUBLIC:
        (FOLDER / f"{package}.txt").write_text(made.listing(package), "utf-8")
