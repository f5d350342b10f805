from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.traffic import clients
from network_pipeline.traffic.listen import ListenSettings, listen_tcp, listen_udp
from tests import needs
from tests.netns import namespace
from tests.traffic.serving import SECONDS, Listen, Listener, listening

ANY_PORT = ListenSettings(port=0)
BODY = '{"user_id", "1234", "api_key": "abcd", "api_secret": "xyz"}'


def connected(listener: Listener) -> socket.socket:
    return socket.create_connection(listener.address, timeout=SECONDS)


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def exactly(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        more = connection.recv(size - len(content))
        assert more, content
        content += more
    return content


def test_tcp_announces_itself_echoes_and_counts() -> None:
    with listening(listen_tcp, ANY_PORT) as server:
        port = server.address[1]
        assert server.announcement == (
            f"- Starting Server address=127.0.0.1:{port} backlog=5 size=1024 "
            f"shutdown=/tmp/shutdown-listen-server-127.0.0.1-{port}"
        )
        with connected(server) as client:
            client.sendall(b"one\xff")
            assert exactly(client, 4) == b"one\xff"
            assert server.next_said() == "received msg=0 data=one\\xff replying"
            client.sendall(b"two")
            assert exactly(client, 3) == b"two"
            assert server.next_said() == "received msg=1 data=two replying"
    assert server.next_said() == "- Stopping Server: told to"
    assert server.counters == {
        "clients": 1,
        "evicted": 0,
        "messages": 2,
        "received_bytes": 7,
        "sent_bytes": 7,
    }


def test_a_half_closed_client_gets_its_reply_and_then_the_end() -> None:
    with listening(listen_tcp, ANY_PORT) as server, connected(server) as client:
        client.sendall(b"x" * 5000)
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b"x" * 5000
    assert server.counters["received_bytes"] == server.counters["sent_bytes"] == 5000


def test_curl_gets_its_request_echoed() -> None:
    curl = needs.program("curl")
    with listening(listen_tcp, ANY_PORT) as server:
        url = f"http://localhost:{server.address[1]}/TESTURLENDPOINT"
        run = subprocess.run(
            [curl, "-sS", "-i", "-POST", url, "-d", BODY], capture_output=True, check=True
        )
        said = server.next_said()
    head, _, echoed = run.stdout.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(echoed)}" in head
    assert echoed.startswith("POST /TESTURLENDPOINT HTTP/1.1\r\nHost: localhost:")
    assert echoed.endswith("\r\n\r\n" + BODY)
    assert said == f"received msg=0 data={echoed} replying".replace("\r\n", "\n")


def test_curl_sends_a_large_body_twice_on_one_connection(tmp_path: Path) -> None:
    curl = needs.program("curl")
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 12_000)  # above 1 MiB, so that curl sends Expect
    with listening(listen_tcp, ANY_PORT) as server:
        url = f"http://127.0.0.1:{server.address[1]}/"
        arguments = ["--data-binary", f"@{large}", "-H", "Transfer-Encoding: chunked", url, url]
        run = subprocess.run([curl, "-sS", *arguments], capture_output=True, check=True)
    assert run.stdout.count(b"PUT / HTTP/1.1\r\n") + run.stdout.count(b"POST / HTTP/1.1\r\n") == 2
    assert len(run.stdout) > 2 * large.stat().st_size
    assert server.counters["clients"] == 1
    assert server.counters["messages"] == 2


def test_an_http_client_in_pieces_and_a_refused_one() -> None:
    with listening(listen_tcp, ANY_PORT) as server:
        with connected(server) as client:
            for byte in b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n":
                client.sendall(bytes([byte]))
            reply = read_to_end(client)
        assert reply.endswith(b"\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        too_large = http.client.HTTPConnection(*server.address, timeout=SECONDS)
        too_large.putrequest("POST", "/")
        too_large.putheader("Content-Length", "999999999")
        too_large.endheaders()
        response = too_large.getresponse()
        assert (response.status, response.read()) == (413, b"Content Too Large\n")
        too_large.close()


def test_a_client_that_does_not_read_is_not_read_and_blocks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "MAX_UNSENT_BYTES", 10_000)
    with listening(listen_tcp, ANY_PORT) as server, connected(server) as slow:
        slow.setblocking(False)
        sent = 0
        try:
            while sent < 200_000_000:
                sent += slow.send(b"x" * 65536)
        except BlockingIOError:
            pass
        assert sent < 200_000_000
        with connected(server) as quick:
            quick.sendall(b"still there?")
            assert exactly(quick, 12) == b"still there?"
        slow.settimeout(SECONDS)
        assert exactly(slow, sent) == b"x" * sent


def test_a_refused_client_that_goes_on_sending_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LINGER_SECONDS", 0.0)
    with listening(listen_tcp, ANY_PORT) as server, connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nbad\r\n\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        with pytest.raises(ConnectionError):
            client.sendall(b"x" * 500_000_000)


def test_many_clients_at_once() -> None:
    with listening(listen_tcp, ListenSettings(port=0, backlog=50)) as server:
        connections = [connected(server) for _ in range(50)]
        for number, client in enumerate(connections):
            client.sendall(b"%03d" % number)
        for number, client in reversed(list(enumerate(connections))):
            assert exactly(client, 3) == b"%03d" % number
            client.close()
    assert server.counters["clients"] == 50
    assert server.counters["messages"] == 50


def test_the_client_that_was_quiet_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_CLIENTS", 2)
    with (
        listening(listen_tcp, ANY_PORT) as server,
        connected(server) as first,
        connected(server) as second,
    ):
        for client in (second, first):
            client.sendall(b"x")
            assert exactly(client, 1) == b"x"
        with connected(server) as third:
            third.sendall(b"y")
            assert exactly(third, 1) == b"y"
            assert second.recv(1) == b""
            first.sendall(b"z")
            assert exactly(first, 1) == b"z"
    assert server.counters["evicted"] == 1
    assert server.counters["clients"] == 3


def test_a_client_that_resets_is_forgotten() -> None:
    with listening(listen_tcp, ANY_PORT) as server:
        client = connected(server)
        client.sendall(b"x")
        assert exactly(client, 1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with connected(server) as other:
            other.sendall(b"y")
            assert exactly(other, 1) == b"y"


def test_udp_announces_itself_echoes_and_counts() -> None:
    with listening(listen_udp, ListenSettings(port=0, size=8)) as server:
        port = server.address[1]
        assert server.announcement == (
            f"- Starting UDP Server address=127.0.0.1:{port} "
            f"size=8 shutdown=/tmp/udp-shutdown-listen-server-127.0.0.1-{port}"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(SECONDS)
            client.connect(server.address)
            for content, echoed, said in (
                (b"a\x1bb", b"a\x1bb", "received UDP data=a\\x1bb"),
                (b"", b"", "received UDP data="),
                (b"123456789", b"12345678", "received UDP data=12345678 (cut to 8 bytes)"),
            ):
                client.send(content)
                assert client.recv(100) == echoed
                assert server.next_said() == said
    assert server.counters == {"messages": 3, "received_bytes": 11, "cut": 1, "unanswered": 0}


@pytest.mark.parametrize("listener", [listen_tcp, listen_udp])
def test_ipv6(listener: Listen) -> None:
    kind = socket.SOCK_STREAM if listener is listen_tcp else socket.SOCK_DGRAM
    if not Path("/proc/net/if_inet6").exists():
        needs.lacking("IPv6")
    settings = ListenSettings(host="::1", port=0)
    with listening(listener, settings) as server:
        assert f"address=[::1]:{server.address[1]} " in server.announcement
        with socket.socket(socket.AF_INET6, kind) as client:
            client.settimeout(SECONDS)
            client.connect(server.address)
            client.send(b"six")
            assert client.recv(100) == b"six"


@pytest.mark.parametrize("listener", [listen_tcp, listen_udp])
def test_the_shutdown_file_ends_it_and_an_old_one_does_not(
    listener: Listen, tmp_path: Path
) -> None:
    file = tmp_path / "shutdown"
    file.touch()
    settings = ListenSettings(port=0, shutdown_file=file)
    with listening(listener, settings) as server:
        assert not file.exists()
        file.touch()
        server.wait()
        assert server.next_said() == f"- Stopping Server: found {file}"


def test_an_old_shutdown_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "shutdown"
    file.touch()
    said: list[str] = []
    stopped = threading.Event()
    stopped.set()
    listen_tcp(ListenSettings(port=0, shutdown_file=file), said.append, stopped)
    assert said[0].endswith(f" - removed an old shutdown file {file}")


def test_a_shutdown_file_that_stays_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is in the way, remove it: Is a directory"):
        listen_tcp(ListenSettings(port=0, shutdown_file=tmp_path), print, threading.Event())


@pytest.mark.parametrize("listener", [listen_tcp, listen_udp])
def test_a_taken_port_names_itself(listener: Listen) -> None:
    with listening(listener, ANY_PORT) as server:
        port = server.address[1]
        with pytest.raises(NetworkPipelineError, match=f"127.0.0.1 port {port} is taken") as error:
            listener(ListenSettings(port=port), print, server.stop)
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ListenSettings(host="192.0.2.1"), "192.0.2.1 is no address of this host"),
        (ListenSettings(host="no-such-host.invalid"), "no-such-host.invalid: no such host"),
        (ListenSettings(host="x" * 100), "no such host"),
    ],
)
def test_a_wrong_address(settings: ListenSettings, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        listen_tcp(settings, print, threading.Event())


def test_a_privileged_port_says_what_it_needs() -> None:
    setpriv = needs.program("setpriv")
    code = (
        "import threading; from network_pipeline.traffic.listen import *\n"
        "listen_tcp(ListenSettings(port=1), print, threading.Event())"
    )
    drop = [setpriv, "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    with namespace() as bare:
        command = bare.command(*drop, sys.executable, "-c", code)
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "127.0.0.1 port 1 needs root: use sudo, or a port from 1024 on" in run.stderr


@pytest.mark.parametrize(
    "numbers", [{"size": 0}, {"size": 10**9}, {"backlog": 0}, {"backlog": 10**9}]
)
def test_numbers_beyond_reason_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be from 1 to"):
        ListenSettings(**numbers)  # type: ignore[arg-type]
