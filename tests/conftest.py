"""Settings and fixtures of the core's tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest


def helper(name):
    """Import a module that lies beside the tests (importlib mode has no sys.path entry for them)."""
    full = f"subwatch_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).parent / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


pytest_collection_modifyitems = helper("alltests").pytest_collection_modifyitems


@pytest.fixture
def helpers():
    """The module `fronts`."""
    return helper("fronts")


@pytest.fixture(scope="session")
def pg():
    """The module `pg`."""
    return helper("pg")


@pytest.fixture(params=helper("fronts").FRONTS)
def front(request):
    """`run`, `Popen` and `aio.run`, called alike."""
    return helper("fronts").Front(request.param)


@pytest.fixture
def strangers(monkeypatch):
    """Makes a file, or a link itself, somebody else's; who is not root becomes somebody else himself."""

    def give_away(path):
        if os.geteuid() == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 54321)

    return give_away


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "shared_children: children of a shared fixture come and go, so leaks are not looked for"
    )


@pytest.fixture(scope="session", autouse=True)
def what_a_process_keeps():
    """Make what the threads of Popen need once for all, so that it does not look like a leak."""
    import subwatch

    subwatch.Popen(["true"], sinks=[]).wait()


@pytest.fixture(scope="session", autouse=True)
def warm():
    """What the process keeps on purpose (the pipe that wakes following threads) is no leak of the first test."""
    import subwatch

    with subwatch.Popen(["true"], sinks=[]):
        pass


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Fail a test that leaves descriptors, threads, tasks or children behind."""
    if request.node.get_closest_marker("shared_children"):
        yield
        return
    leaks = helper("leaks")
    before = leaks.state()
    yield
    left = leaks.left_behind(before)
    assert not left, f"left behind: {left}"
