"""The release script, in small repositories of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECTS = [
    Path("pyproject.toml"),
    *(path.relative_to(ROOT) for path in ROOT.glob("integrations/*/pyproject.toml")),
]


@pytest.fixture
def project(tmp_path):
    """A repository with the files that a release writes to; `changelog(text)` gives it a changelog."""
    for name in [*PROJECTS, Path(".ci/release")]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    class Project:
        path = tmp_path

        def git(self, *words):
            identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
            done = subprocess.run(
                ["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True
            )
            return done.stdout

        def changelog(self, text):
            (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{text}")
            self.git("add", ".")
            self.git("commit", "--quiet", "-m", "Change")

        def release(self, *words):
            command = [sys.executable, str(tmp_path / ".ci" / "release"), "--no-build", *words]
            return subprocess.run(command, capture_output=True, text=True)

    project = Project()
    project.git("init", "--quiet")
    project.git("config", "user.name", "tests")
    project.git("config", "user.email", "tests@localhost")
    return project


SECTION = "## 7.1.0 (unreleased)\n\n### Fixed\n\n- All of it.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n"


def test_release(project):
    """The version is written once, requirements follow, the section has its date, the tag stands on the commit."""
    project.changelog(SECTION)
    done = project.release()

    assert done.returncode == 0, done.stderr
    assert 'version = "7.1.0"' in (project.path / "pyproject.toml").read_text()
    assert re.search(r"## 7\.1\.0 \(\d{4}-\d\d-\d\d\)", (project.path / "CHANGELOG.md").read_text())
    texts = [(project.path / name).read_text() for name in PROJECTS]
    ranges = re.findall(r'"subwatch(?:-\w+)?>=(.*?)"', "".join(texts))
    assert set(ranges) == {"7.1,<7.2"}
    assert len(ranges) >= 8  # four extras of the core, four requirements on it
    assert project.git("tag", "--points-at", "HEAD") == "v7.1.0\n"
    assert project.git("status", "--porcelain") == ""
    assert "twine upload dist/7.1.0/*" in done.stdout.splitlines()[-1]


def test_dry_run_changes_nothing(project):
    project.changelog(SECTION)
    before = project.git("rev-parse", "HEAD")
    done = project.release("--dry-run")

    assert done.returncode == 0, done.stderr
    assert "v7.1.0 is ready" in done.stdout
    assert (project.git("rev-parse", "HEAD"), project.git("tag"), project.git("status", "--porcelain")) == (
        before,
        "",
        "",
    )


def test_second_release_has_nothing_to_do(project):
    project.changelog(SECTION)
    project.release()
    done = project.release()

    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no section"),
        ("## 7.1.0 (unreleased)\n\n### Fixed\n", "says nothing of 7.1.0"),
        ("## 0.0.1 (unreleased)\n\n- Old.\n", "0.0.1 is older"),
    ],
)
def test_refusals(project, text, why):
    project.changelog(text)
    done = project.release()

    assert done.returncode == 1
    assert why in done.stderr
    assert project.git("tag") == ""


def test_changes_that_are_not_committed_are_refused(project):
    project.changelog(SECTION)
    (project.path / "new").write_text("")
    done = project.release()

    assert done.returncode == 1
    assert "not committed" in done.stderr
