"""Each hostile body and each hostile request alone: answered as it must be, within the memory that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import hostile_requests
from tests.fuzz_bodies import problem_amiss
from tests.hostile_bodies import HOSTILE_BODIES, LIMIT, HostileBody
from tests.hostile_requests import HOSTILE_REQUESTS, HostileRequest
from tests.watched_server import MEMORY_MIB, WatchedServer

pytestmark = pytest.mark.slow


class Servers:
    """A server, and another one after each that is dead or has needed too much memory."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self._folder = folder
        self._arguments = arguments
        self._server: WatchedServer | None = None

    def healthy(self) -> WatchedServer:
        if self._server is not None and (not self._server.lives or self._server.peak() > MEMORY_MIB):
            self.close()
        if self._server is None:
            self._server = WatchedServer(
                self._folder, *self._arguments, variables={"TITANIC_FIT_TOKEN": "a token of some length"}
            )
        return self._server

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("server"), "--model", model_file, "--accept-binary", "--allow-fit")
    yield servers
    servers.close()


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: body.name)
def test_a_hostile_body_is_answered_within_bounds(servers: Servers, body: HostileBody) -> None:
    content, server = body.build(), servers.healthy()
    faults = server.faults
    answer = server.ask(body.path, content, body.media_type, **body.headers)
    assert len(content) <= LIMIT
    assert answer.status in body.statuses
    assert answer.status == 200 or problem_amiss(answer) is None
    assert server.peak() < MEMORY_MIB
    assert server.faults == faults
    assert not server.unanswered_probes()


@pytest.mark.parametrize("request_", HOSTILE_REQUESTS, ids=lambda request: request.name)
def test_a_hostile_request_is_answered_as_it_must_be(servers: Servers, request_: HostileRequest) -> None:
    server = servers.healthy()
    faults = server.faults
    reply = hostile_requests.exchange(server.port, request_, 10.0 if None not in request_.statuses else 2.0)
    assert hostile_requests.amiss(request_, reply) is None
    assert server.faults == faults
    assert not server.unanswered_probes()


def test_hostile_bodies_have_names_of_their_own() -> None:
    assert len({body.name for body in HOSTILE_BODIES}) == len(HOSTILE_BODIES)
