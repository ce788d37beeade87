"""How a request gets its answer: from the application, or without it if it is refused."""

from __future__ import annotations

import json
from typing import Any

from waitress.task import ErrorTask, WSGITask

from titanic_batch.server.media import PROBLEM


class ApplicationTask(WSGITask):  # type: ignore[misc]  # untyped
    """Calls the application."""

    def service(self) -> None:
        """Answer the request. waitress takes any OSError for one of the connection, and keeps it to itself."""
        self.start()
        self.execute()
        self.finish()

    def get_environment(self) -> dict[str, Any]:
        """Return what the application is told of the request."""
        environ: dict[str, Any] = super().get_environment()
        environ.pop("wsgi.file_wrapper", None)  # an answer is not to be read from a file while it is sent
        return environ

    def build_response_header(self) -> bytes:
        """Return the header; while the server ends, it tells the client so."""
        if self.channel.server.shared.is_draining:
            self.set_close_on_finish()
        return bytes(super().build_response_header())


class ProblemTask(ErrorTask):  # type: ignore[misc]  # untyped
    """Answers a request that is refused, and closes the connection: where the next one begins is not known."""

    def execute(self) -> None:
        """Write the problem."""
        refusal = self.request.refusal
        content = {
            "type": "about:blank",
            "title": refusal.reason,
            "status": refusal.status,
            "detail": refusal.detail,
        }
        body = json.dumps(content).encode()
        self.status = f"{refusal.status} {refusal.reason}"
        self.response_headers.append(("Content-Type", PROBLEM))
        if refusal.status == 503:
            self.response_headers.append(("Retry-After", "1"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
