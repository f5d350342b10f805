"""Splunk for tests: an HTTPS server that speaks its HTTP Event Collector and its token listing."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.servers import Certificates

TOKEN = "11111111-2222-3333-4444-555555555555"

_TOKENS = f"""<feed><entry><content>
  <s:dict xmlns:s="http://dev.splunk.com/ns/rest"><s:key name="disabled">0</s:key>
  <s:key name="token">{TOKEN}</s:key></s:dict></content></entry></feed>"""


@dataclass
class Collector:
    """What the server was asked, and what it answers: ``statuses`` first, then 200.

    With ``gate`` cleared, answers wait until it is set.
    """

    address: str = ""
    statuses: list[int] = field(default_factory=list)
    tokens: str = _TOKENS
    gate: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str]] = field(default_factory=list)
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[str]:
        """The messages of all events that were taken, in order."""
        return [json.loads(envelope["event"])["message"] for envelope in self.envelopes]


@contextlib.contextmanager
def collecting(certificates: Certificates) -> Iterator[Collector]:
    """Run a collector on a port of its own, with the certificate for localhost."""
    collector = Collector()
    collector.gate.set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _request_class(collector))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    # Shaken hands with in a request's thread: who connects and says nothing holds up nobody else.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    collector.address = f"localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        collector.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _request_class(collector: Collector) -> type[http.server.BaseHTTPRequestHandler]:
    class Request(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._note()
            self._answer(self._status(), collector.tokens.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._note()
            collector.gate.wait()
            status = self._status()
            if status == 200:
                collector.envelopes += map(json.loads, body.splitlines())
            self._answer(status, b'{"text":"Success","code":0}')

        def _note(self) -> None:
            collector.requests.append((self.path, self.headers["Authorization"]))
            collector.asked.set()

        def _status(self) -> int:
            return collector.statuses.pop(0) if collector.statuses else 200

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Request
