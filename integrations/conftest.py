"""What holds for the core's tests holds for those of the integrations, too, when they are run alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_path = Path(__file__).parents[1] / "tests/alltests.py"
_spec = importlib.util.spec_from_file_location("subwatch_alltests", _path)
_alltests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_alltests)

pytest_collection_modifyitems = _alltests.pytest_collection_modifyitems
