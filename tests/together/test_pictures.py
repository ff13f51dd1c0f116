"""The pictures of the README can be drawn again, and still show what a run of today shows."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.shared_children

ROOT = Path(__file__).parents[2]


def shown(path):
    """The text of a picture, line by line."""
    rows = {}
    for y, text in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*>(.*?)</text>', path.read_text()):
        rows[float(y)] = rows.get(float(y), "") + html.unescape(text).replace("\xa0", " ")
    return "\n".join(rows[y] for y in sorted(rows))


@pytest.fixture(scope="module")
def drawn(helper, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    helper("tests/pictures/draw.py").main(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["terminal", "loki"])
def test_pictures_are_up_to_date(helper, drawn, name):
    """What every picture has to show is in the one in the repository and in one drawn now."""
    words = helper("tests/pictures/draw.py").SHOWN[name]
    for picture in (ROOT / "tests" / "pictures" / f"{name}.svg", drawn / f"{name}.svg"):
        text = shown(picture)
        missing = [word for word in words if word not in text]
        assert not missing, f"{picture}: python tests/pictures/draw.py; it has:\n{text}"
        assert not re.search(r"url\(.?http|@import|href=", picture.read_text()), "a picture asks nobody"


def test_readme_has_the_pictures():
    used = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (ROOT / "README.md").read_text())

    assert [ROOT / name for name in used if name.endswith(".svg")] == [
        ROOT / "tests" / "pictures" / f"{name}.svg" for name in ("terminal", "loki")
    ]
    assert all((ROOT / name).exists() for name in used)
