"""A run is stopped at once, but not while its files are being published."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from titanic_batch.writing import stopping
from titanic_batch.writing.stopping import Stopped


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    stopping.release()
    yield
    stopping.release()


def test_who_is_not_held_stops_at_once() -> None:
    with pytest.raises(Stopped) as caught:
        stopping.ask(143)
    assert caught.value.code == 143


def test_who_is_held_stops_when_released_and_once() -> None:
    stopping.hold()
    stopping.ask(130)
    with pytest.raises(Stopped) as caught:
        stopping.release()
    assert caught.value.code == 130
    stopping.release()


def test_what_is_short_is_done_as_a_whole() -> None:
    done = []

    def short() -> None:
        with stopping.delayed():
            stopping.ask(143)
            done.append("all")
        done.append("more")

    with pytest.raises(Stopped):
        short()
    assert done == ["all"]


def test_what_is_short_does_not_release_who_is_held() -> None:
    stopping.hold()
    with stopping.delayed():
        stopping.ask(143)
    with pytest.raises(Stopped):
        stopping.release()


def test_a_thread_neither_holds_nor_stops_the_main_one() -> None:
    thread = threading.Thread(target=stopping.hold)
    thread.start()
    thread.join()
    with pytest.raises(Stopped):
        stopping.ask(143)
