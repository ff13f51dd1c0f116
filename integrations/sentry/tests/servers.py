"""Real servers on loopback: bugsink (errors) and Spotlight (whole envelopes).

They are installed once into a cache folder (``SUBWATCH_TEST_CACHE``, default ``~/.cache/subwatch-tests``) and
started with data of their own in a temporary folder. What cannot be installed fails with the line to type.
"""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from sentry_sdk.envelope import Envelope

BUGSINK = "bugsink==2.6.1"  # 2.6.2 needs a newer certifi than package indexes serve
SPOTLIGHT = "4.11.8"
HONO = "4.12.25"  # 4.13 breaks this Spotlight: every request is answered with 500

CACHE = Path(os.environ.get("SUBWATCH_TEST_CACHE") or Path.home() / ".cache" / "subwatch-tests")

_PRELOAD = """
// its server listens on all interfaces; tests stay on loopback
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (typeof first === "object") return listen.call(this, { ...first, host: "127.0.0.1" }, ...rest);
  return listen.call(this, first, "127.0.0.1", ...rest.filter((one) => typeof one === "function"));
};
"""

_START = """
const { setupSpotlight } = await import("@spotlightjs/spotlight");
await setupSpotlight({ port: Number(process.argv[2]), isStandalone: true });
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url, *, data=None, headers=None, method=None, timeout=10):
    body = None if data is None else json.dumps(data).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.read()


def until(read, what, timeout=30):
    """Ask until there is an answer that is not empty."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if answer := read():
                return answer
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"no answer within {timeout} s: {what}")


def _install(target, ready, *commands, hint):
    """Run install commands into a folder, once; two test runs at the same time do not meet half a folder."""
    if (target / ready).exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{target.name}.lock", "w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / ready).exists():
            return
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for command in commands:
            try:
                done = subprocess.run(command, cwd=target, capture_output=True, text=True, timeout=600)
            except FileNotFoundError as error:
                raise AssertionError(f"{error.filename} is not installed; needed is: {hint}") from None
            assert done.returncode == 0, f"cannot install; needed is: {hint}\n{done.stderr[-2000:]}"
        assert (target / ready).exists(), f"incomplete; remove {target} and try: {hint}"


@contextlib.contextmanager
def _running(command, *, cwd, env, ready, log):
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            until(lambda: process.poll() is not None or fetch(ready), f"{command[0]}: {ready}", 60)
            assert process.poll() is None, Path(log).read_text(errors="replace")[-2000:]
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _keep(files, folder):
    """Copy files into a folder, unless it is there; others may be doing the same."""
    if not folder.exists():
        made = tempfile.mkdtemp(dir=folder.parent)
        for file in files:
            shutil.copy(file, made)
        try:
            os.rename(made, folder)
        except OSError:  # another was faster
            shutil.rmtree(made)


class Answering:
    """A server that gives every request the same status, and keeps what it was sent."""

    def __init__(self, status):
        self._bodies = bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://key@127.0.0.1:{self._server.server_port}/1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def events(self):
        return self.events_of(self._bodies)

    @staticmethod
    def events_of(bodies):
        envelopes = [Envelope.deserialize(body) for body in bodies]
        return [event for envelope in envelopes if (event := envelope.get_event()) is not None]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Bugsink:
    def __init__(self, url, token):
        self._url = f"{url}/api/canonical/0"
        self._headers = {"Authorization": f"Bearer {token}"}
        team = self._call("/teams/", {"name": "tests"})
        self._team = team["id"]

    def _call(self, path, data=None):
        return json.loads(fetch(self._url + path, data=data, headers=self._headers))

    def project(self, name):
        """Make a project; return its id and DSN."""
        self._call("/projects/", {"name": name, "team": self._team})
        (project,) = [one for one in self._call("/projects/")["results"] if one["name"] == name]
        return project["id"], project["dsn"]

    def issues(self, project):
        """The issues of a project."""
        return self._call(f"/issues/?project={project}")["results"]

    def events(self, project):
        """The events of a project, as the server has stored them."""
        issues = self.issues(project)
        listed = [one for issue in issues for one in self._call(f"/events/?issue={issue['id']}")["results"]]
        return [self._call(f"/events/{one['id']}/")["data"] for one in listed]

    def wait(self, project, count=1):
        until(lambda: len(self.events(project)) >= count, f"{count} events in project {project}")
        return self.events(project)


@contextlib.contextmanager
def bugsink():
    target = CACHE / BUGSINK.replace("==", "-")
    python = target / "bin" / "python"
    _install(
        target,
        "bin/bugsink-manage",
        [sys.executable, "-m", "venv", "."],
        [str(python), "-m", "pip", "install", "--quiet", BUGSINK],
        hint=f"python -m venv {target} && {target}/bin/pip install {BUGSINK}",
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="bugsink-") as folder:
        path = os.pathsep.join([str(target / "bin"), os.environ["PATH"]])
        env = {"PATH": path, "HOME": folder, "PYTHONWARNINGS": "ignore", "LANG": "C.UTF-8"}

        def manage(*arguments):
            done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr[-2000:]
            return done.stdout

        manage("bugsink-create-conf", "--template=local", "--host=127.0.0.1", f"--port={port}")
        with open(Path(folder) / "bugsink_conf.py", "a") as conf:
            conf.write(
                '\nBUGSINK["PHONEHOME"] = False\nBUGSINK["VALIDATE_ON_DIGEST"] = "strict"\n'
                f'BUGSINK["KEEP_ENVELOPES"] = 1000\nBUGSINK["INGEST_STORE_BASE_DIR"] = {folder!r}\n'
            )
        empty = target / "empty"  # its tables, which take longest to make
        if empty.exists():
            shutil.copytree(empty, folder, dirs_exist_ok=True)
        else:
            manage("bugsink-manage", "migrate")
            _keep(Path(folder).glob("*.sqlite3*"), empty)
        token = manage("bugsink-manage", "create_auth_token").split()[-1]
        command = ["gunicorn", "--workers=1", "--threads=4", f"--bind=127.0.0.1:{port}", "bugsink.wsgi"]
        with _running(command, cwd=folder, env=env, ready=f"{url}/health/ready", log=Path(folder) / "log"):
            yield Bugsink(url, token)


class Spotlight:
    def __init__(self, url):
        self._url = url
        self.dsn = f"{url.replace('http://', 'http://key@')}/1"

    def clear(self):
        fetch(f"{self._url}/clear", method="DELETE")

    def items(self):
        """(type, header, payload) of every item that it has parsed."""
        found = []
        stream = urllib.request.urlopen(f"{self._url}/stream", timeout=2)
        with stream, contextlib.suppress(TimeoutError):  # the stream has no end
            for line in stream:
                if line.startswith(b"data:"):
                    _, items = json.loads(line[5:])
                    found += [(header["type"], header, payload) for header, payload in items]
        return found

    def wait(self, wanted):
        """Items, once all wanted types are there."""

        def read():
            items = self.items()
            return items if wanted <= {kind for kind, _, _ in items} else None

        return until(read, f"envelope items {wanted}")


@contextlib.contextmanager
def spotlight():
    target = CACHE / f"spotlight-{SPOTLIGHT}"
    packages = {"@spotlightjs/spotlight": SPOTLIGHT, "hono": HONO}
    manifest = json.dumps(
        {"private": True, "type": "module", "dependencies": packages, "overrides": {"hono": HONO}}
    )
    _install(
        target,
        "node_modules/@spotlightjs/spotlight/package.json",
        [sys.executable, "-c", f"open('package.json', 'w').write({manifest!r})"],
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
        hint=f"npm install @spotlightjs/spotlight@{SPOTLIGHT} hono@{HONO} in {target}, with hono overridden",
    )
    (target / "preload.cjs").write_text(_PRELOAD)
    (target / "start.mjs").write_text(_START)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="spotlight-") as folder:
        command = ["node", "--require", "./preload.cjs", "start.mjs", str(port)]
        env = {"PATH": os.environ["PATH"], "HOME": folder, "NODE_ENV": "production"}
        with _running(command, cwd=target, env=env, ready=f"{url}/health", log=Path(folder) / "log"):
            yield Spotlight(url)
