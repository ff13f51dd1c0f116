"""`LokiHandler` for plain logging: python-logging-loki's constructor, without its defects."""

from __future__ import annotations

import logging
import logging.config
import subprocess
import sys
import threading
import time

import logging_loki
import pytest

from subwatch.errors import ConfigError
from subwatch_loki import LokiHandler


@pytest.fixture
def logger():
    logger = logging.getLogger("app.module")
    logger.setLevel(logging.DEBUG)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def test_records_arrive_with_structured_metadata(loki, logger):
    handler = LokiHandler(loki.url, {"test": loki.label}, tenant=loki.tenant)
    logger.addHandler(handler)
    logger.warning("disk %d %% full", 93, extra={"tags": {"disk.name": "sda", "run_id": 7}})
    try:
        raise ValueError("bad")
    except ValueError:
        logger.exception("failed")
    handler.flush()
    first, second = loki.entries(count=2)
    assert first[1] == "disk 93 % full"
    assert first[2].items() >= {
        "level": "warning", "logger": "app.module", "disk_name": "sda", "run_id": "7", "thread": "MainThread"
    }.items()  # fmt: skip
    assert "test_loki_handler.py" in first[2]["caller"]
    assert first[3] == {"job": "subwatch", "service_name": "subwatch", "test": loki.label}
    assert second[1].startswith("failed\nTraceback")
    assert second[1].endswith("ValueError: bad")
    assert second[2]["level"] == "error"
    assert handler.dropped == 0


def test_it_is_python_logging_lokis_handler(server):
    handler = LokiHandler(url=server.url, tags={"app": "x"}, auth=("me", "hunter2"), version="1")
    assert isinstance(handler, logging_loki.LokiHandler)
    assert "hunter2" not in repr(handler) + repr(vars(handler))
    handler.emit(logging.makeLogRecord({"msg": "x"}))
    handler.close()
    assert server.requests[0][0]["Authorization"] == "Basic bWU6aHVudGVyMg=="
    with pytest.raises(ValueError, match="Unknown emitter version"):
        LokiHandler(server.url, version="0")
    with pytest.raises(ConfigError):
        LokiHandler("nonsense")


def test_dict_config(local, server):
    code = f"""
import logging, logging.config
logging.config.dictConfig({{
    "version": 1,
    "formatters": {{"plain": {{"format": "%(name)s: %(message)s"}}}},
    "handlers": {{"loki": {{"class": "subwatch_loki.LokiHandler", "url": {server.url!r}, "formatter": "plain",
                          "tags": {{"test": {local.label!r}}}, "batch_seconds": 60, "level": "INFO"}}}},
    "root": {{"handlers": ["loki"], "level": "DEBUG"}},
}})
for n in range(1000):
    logging.getLogger("app").info("message %d", n)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)
    assert [line for _, line, _, _ in local.entries(count=1000)] == [f"app: message {n}" for n in range(1000)]
    assert len(server.requests) == 1, "delivered at the end of the process, though nobody has flushed"


def test_root_at_debug_does_not_feed_on_itself(local, server, monkeypatch):
    handler = LokiHandler(server.url, {"test": local.label}, batch_seconds=0.05)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    root.setLevel(logging.DEBUG)
    try:
        logging.getLogger("app").debug("once")
        handler.flush()
        time.sleep(0.5)
    finally:
        root.setLevel(logging.WARNING)
        handler.close()
    assert [line for _, line, _, _ in local.entries()] == ["once"]
    assert len(server.requests) == 1


def test_records_of_other_threads_about_requests_are_kept(local, server, monkeypatch):
    handler = LokiHandler(server.url, {"test": local.label})
    logger = logging.getLogger("urllib3.connectionpool")
    monkeypatch.setattr(logger, "handlers", [handler])
    logger.error("the application's own request")
    handler.close()
    assert len(local.entries(count=1)) == 1


def test_a_dead_server_blocks_nobody_and_prints_no_tracebacks(logger, capfd):
    handler = LokiHandler("http://127.0.0.1:9", flush_timeout=0.3, retry_min=0.01, capacity=100_000)
    logger.addHandler(handler)
    begun = time.monotonic()
    for n in range(5000):
        logger.info("message %d", n)
    assert time.monotonic() - begun < 3
    begun = time.monotonic()
    handler.flush()
    handler.close()
    assert time.monotonic() - begun < 3
    assert handler.dropped == 5000
    assert "Traceback" not in capfd.readouterr().err


def test_flushing_a_dead_server_again_and_again_takes_the_timeout_each_time(logger):
    """Records that wait for a batch of their own find no room in memory then."""
    handler = LokiHandler("http://127.0.0.1:9", flush_timeout=0.3, batch_seconds=60)
    logger.addHandler(handler)
    begun = time.monotonic()
    for n in range(6):
        logger.info("message %d", n)
        handler.flush()
    handler.close()
    assert time.monotonic() - begun < 10
    assert handler.dropped == 6


def test_many_threads(local, server, logger):
    handler = LokiHandler(server.url, {"test": local.label}, policy="block")
    logger.addHandler(handler)

    def work(number):
        for n in range(200):
            logger.info("thread %d message %d", number, n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.flush()
    entries = local.entries(count=1600)
    assert len(entries) == 1600
    stamps = [stamp for stamp, *_ in entries]
    assert len(set(stamps)) == 1600
    for number in range(8):
        mine = [line for _, line, _, _ in entries if line.startswith(f"thread {number} ")]
        assert mine == [f"thread {number} message {n}" for n in range(200)]


def test_a_bad_record_is_reported_and_the_connection_kept(local, server, logger, capsys):
    handler = LokiHandler(server.url, {"test": local.label})
    logger.addHandler(handler)
    logger.info("good")
    handler.handle(
        logging.makeLogRecord({"msg": "%d", "args": ("bad",)})
    )  # pytest listens to loggers as well
    logger.info("good again")
    handler.flush()
    assert [line for _, line, _, _ in local.entries(count=2)] == ["good", "good again"]
    assert "--- Logging error ---" in capsys.readouterr().err


def test_after_a_fork_parent_and_child_both_deliver(local, server):
    code = f"""
import logging, os
from subwatch_loki import LokiHandler
handler = LokiHandler({server.url!r}, {{"test": {local.label!r}}}, batch_seconds=60)
log = logging.getLogger("app")
log.addHandler(handler)
for n in range(50):
    log.warning("before %d", n)
pid = os.fork()
who = "parent" if pid else "child"
for n in range(50):
    log.warning("%s %d", who, n)
handler.close()
if not pid:
    os._exit(handler.dropped)
assert os.waitpid(pid, 0)[1] == handler.dropped == 0
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)
    lines = [line for _, line, _, _ in local.entries(count=150)]
    assert sorted(lines) == sorted(f"{who} {n}" for who in ("before", "child", "parent") for n in range(50))
    assert server.store.sent_twice == 0
