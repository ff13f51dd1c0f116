"""Which file a command's name stands for: always the one that subprocess runs, whatever PATH looks like."""

import os
import subprocess
import sys

import pytest

import subwatch

SAYS = "#!/bin/sh\necho {}\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Make programs in directories; PATH has these directories alone."""

    def make(*entries):
        directories = []
        for index, entry in enumerate(entries):
            directory = tmp_path / str(index)
            directory.mkdir()
            directories.append(str(directory))
            if entry is None:
                continue
            kind, mode = entry
            if kind == "directory":
                (directory / "tool").mkdir()
                continue
            (directory / "tool").write_text(SAYS.format(index) if kind == "script" else kind)
            (directory / "tool").chmod(mode)
        monkeypatch.setenv("PATH", os.pathsep.join([*directories, "/usr/bin", "/bin"]))
        return directories

    return make


def what(run, *args, **kwargs):
    """What comes of a command, in a form to compare."""
    try:
        done = run(*args, capture_output=True, **kwargs)
    except OSError as error:
        return type(error), error.errno, error.filename, str(error)
    return done.returncode, done.stdout


def same(*args, **kwargs):
    expected = what(subprocess.run, *args, **kwargs)
    assert what(subwatch.run, *args, **kwargs) == expected
    return expected


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([("script", 0o755), ("script", 0o755)], b"0\n"),
        ([None, ("script", 0o755)], b"1\n"),
        ([("script", 0o644), ("script", 0o755)], b"1\n"),
        ([("directory", 0), ("script", 0o755)], b"1\n"),
        ([("no program", 0o755), ("script", 0o755)], b"1\n"),
        ([("#!/no/such/interpreter\n", 0o755), ("script", 0o755)], b"1\n"),
    ],
    ids=["first", "second", "not executable", "a directory", "no format", "no interpreter"],
)
def test_the_file_that_can_be_run_is_run(tree, entries, found):
    tree(*entries)
    assert same(["tool"]) == (0, found)
    assert same("tool") == (0, found)


@pytest.mark.parametrize("entry", [None, ("script", 0o644), ("directory", 0), ("no program", 0o755)])
def test_what_cannot_be_run_raises_what_subprocess_raises(tree, entry):
    tree(entry)
    kind, *_ = same(["tool"])
    assert issubclass(kind, OSError)


def test_a_relative_directory_is_relative_to_the_childs_own(tree, tmp_path, monkeypatch):
    first, second = tree(("script", 0o755), ("script", 0o755))
    (tmp_path / "bin").symlink_to(first)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "bin").symlink_to(second)
    monkeypatch.setenv("PATH", "bin:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    assert same(["tool"]) == (0, b"0\n")
    assert same(["tool"], cwd=tmp_path / "elsewhere") == (0, b"1\n")
    for path in ("", ":/usr/bin:/bin", "/usr/bin::/bin"):
        monkeypatch.setenv("PATH", path)
        same(["tool"], cwd=second)


def test_the_path_of_the_childs_environment_counts(tree):
    first, second = tree(("script", 0o755), ("script", 0o755))
    assert same(["tool"]) == (0, b"0\n")
    assert same(["tool"], env={**os.environ, "PATH": f"{second}:/bin"}) == (0, b"1\n")
    assert same(["tool"], env={**os.environb, b"PATH": os.fsencode(f"{second}:{first}:/bin")}) == (0, b"1\n")
    assert same(["tool"], env=os.environ) == (0, b"0\n")
    assert same(["tool"], env=os.environb) == (0, b"0\n")
    assert same(["tool"], env={})[0] is same(["tool"], env={"A": "b"})[0] is FileNotFoundError
    assert same(["tool"], executable=os.path.join(second, "tool")) == (0, b"1\n")


def test_a_path_that_is_given_twice_or_is_none_raises_what_subprocess_raises(tree):
    tree(("script", 0o755))

    def what(run, env):
        with pytest.raises((TypeError, ValueError)) as caught:
            run(["tool"], env=env, capture_output=True)
        return type(caught.value), str(caught.value)

    for env in ({"PATH": "/bin", b"PATH": b"/bin"}, {b"PATH": 7}, {b"PATH": b"/bin\0"}):
        assert what(subwatch.run, env) == what(subprocess.run, env)


def test_a_program_that_is_installed_later_is_found_at_once(tree):
    first, second = tree(None, ("script", 0o755))
    assert same(["tool"]) == (0, b"1\n")
    new = os.path.join(first, "tool")
    with open(new, "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
        file.write(SAYS.format("new"))
    assert same(["tool"]) == (0, b"new\n")
    os.unlink(new)
    os.unlink(os.path.join(second, "tool"))
    assert same(["tool"])[0] is FileNotFoundError


def test_the_child_sees_the_name_that_it_was_called_by():
    code = "import sys; print(open('/proc/self/cmdline').read().split('\\0')[0])"
    name = os.path.basename(sys.executable)
    env = {**os.environb, b"PATH": os.fsencode(os.path.dirname(sys.executable)) + b":/bin"}
    assert same([name, "-c", code], env=env) == (0, name.encode() + b"\n")


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "a" * 300, "./tool", "no such tool"])
def test_odd_names_raise_what_subprocess_raises(name):
    def what(run):
        with pytest.raises((OSError, ValueError)) as caught:
            run([name], capture_output=True)
        return type(caught.value), str(caught.value)

    assert what(subwatch.run) == what(subprocess.run)


def test_a_function_for_the_child_runs_once(tree, tmp_path):
    tree(("script", 0o644), ("script", 0o755))
    count = tmp_path / "count"

    def note():
        with open(count, "ab") as file:
            file.write(b"x")

    done = subwatch.run(["tool"], capture_output=True, preexec_fn=note)
    assert (done.stdout, count.read_bytes()) == (b"1\n", b"x")
