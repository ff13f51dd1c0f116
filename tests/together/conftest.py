"""The servers of all integrations, started by the helper modules of their own tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(path):
    """Import a helper module by its path, once (importlib mode has no sys.path entry for them)."""
    name = "subwatch_together_" + path.removesuffix(".py").replace("/", "_")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def helper():
    """Import a helper module of any tests by its path."""
    return load
