"""The server's log: complete if somebody reads it, and in nobody's way if not."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from titanic_batch.cli.console import JsonFormatter
from titanic_batch.server.log_writer import WAITING_LINES, LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def log(writer: LogWriter, count: int) -> list[int]:
    """Log as many lines, and return a list that grows by each that is dropped."""
    dropped: list[int] = []
    writer.on_drop = lambda: dropped.append(1)
    for number in range(count):
        writer.handle(logging.makeLogRecord({"msg": f"line {number:090}"}))
    return dropped


def lines_in(reader: int) -> list[bytes]:
    with os.fdopen(reader, "rb", closefd=False) as file:
        return file.read().splitlines()


@pytest.mark.parametrize("blocking", [True, False])
def test_all_lines_are_written_in_order(pipe: tuple[int, int], blocking: bool) -> None:
    os.set_blocking(pipe[1], blocking)
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.extend(lines_in(pipe[0])))
    reading.start()
    writer = LogWriter(pipe[1])
    dropped = log(writer, WAITING_LINES)
    writer.close()
    os.close(pipe[1])
    reading.join()
    assert found == [b"line %090d" % number for number in range(WAITING_LINES)]
    assert dropped == []


def test_lines_are_dropped_and_counted_while_nobody_reads(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    dropped = log(writer, 2 * WAITING_LINES)
    writer.close()  # it does not wait for long
    assert 0 < len(dropped) <= WAITING_LINES
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.extend(lines_in(pipe[0])))
    reading.start()
    writer._ended.wait(60)
    os.close(pipe[1])
    reading.join()
    assert len(found) + len(dropped) == 2 * WAITING_LINES
    assert found == sorted(found)


def test_a_line_of_json_may_hold_several_lines(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    writer.setFormatter(JsonFormatter(as_they_are=logging.getLogger("access")))
    writer.handle(logging.makeLogRecord({"msg": "titanic: a fault in\n  two lines", "levelname": "ERROR"}))
    writer.handle(logging.makeLogRecord({"msg": '{"route": "/ping"}', "name": "access"}))
    writer.close()
    os.close(pipe[1])
    fault, access = map(json.loads, lines_in(pipe[0]))
    assert fault["level"] == "error"
    assert fault["message"] == "a fault in\n  two lines"
    assert access == {"route": "/ping"}


def test_a_reader_who_is_gone_does_no_harm(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    writer = LogWriter(pipe[1])
    dropped = log(writer, 10)
    writer.close()
    assert len(dropped) == 10
