"""What the server itself refuses before any route sees it, in the shape of every other answer."""

from __future__ import annotations

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

from daemon.api.answers import error_body, incident

_SENTENCES = {
    413: "the body is too large; server.max_body_bytes is the limit",
    431: "the address and the headers are too long; 16 KiB is the limit",
}


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    def parse_header(self, header_plus: bytes) -> None:
        """A number or an address that Python cannot read is the client's fault, and gets an answer like any other."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("the request's first line or one of its headers cannot be read") from None


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    def execute(self) -> None:
        """Answer the request's error."""
        error = self.request.error
        body = error_body(_detail(error.code, str(error.body))).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A client's connection."""

    parser_class = _Parser
    error_task_class = _ErrorTask


def _detail(code: int, body: str) -> str:
    if code == 500:
        return incident("its traceback stands above")
    return _SENTENCES.get(code, f"this is no request that can be read: {body}")
