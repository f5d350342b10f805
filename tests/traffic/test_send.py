from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.traffic import send
from network_pipeline.traffic.listen import ListenSettings, listen_tcp, listen_udp
from network_pipeline.traffic.send import (
    Load,
    SendCounts,
    paced,
    send_large_tcp,
    send_tcp,
    send_udp,
)
from network_pipeline.traffic.text import SHOWN_BYTES
from tests.servers import free_ports
from tests.traffic.serving import SECONDS, listening

ANY_PORT = ListenSettings(port=0)


def never() -> threading.Event:
    return threading.Event()


def address_of(server: socket.socket) -> tuple[str, int]:
    host, port = server.getsockname()[:2]
    return host, port


class Clock(threading.Event):
    """A stop event whose waiting moves the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def test_a_pace_is_kept_by_absolute_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    times = []
    for number in paced(Load(count=8, rate=4.0), clock):
        times.append(clock.now)
        clock.now += 0.9 if number == 3 else 0.05
    # The third is slow, so the next ones follow at once; from the eighth on the pace is kept again.
    assert times == pytest.approx(
        [1000, 1000.25, 1000.5, 1001.4, 1001.45, 1001.5, 1001.55, 1001.75]
    )


def test_a_whole_minute_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    assert list(paced(Load(count=10_000, rate=500.0), clock)) == list(range(1, 10_001))
    assert clock.now == pytest.approx(1000 + 9_999 / 500)


def test_without_end_until_stopped() -> None:
    stop = threading.Event()
    seen = []
    for number in paced(Load(count=0), stop):
        seen.append(number)
        if number == 5:
            stop.set()
    assert seen == [1, 2, 3, 4, 5]


def test_udp_messages_arrive_and_are_shown() -> None:
    said: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(SECONDS)
        port = server.getsockname()[1]
        counts = send_udp("127.0.0.1", port, Load(count=3), said.append, never())
        arrived = [server.recv(2000).decode() for _ in range(3)]
    assert counts == SendCounts(3, 3 * 79, 0, 0)
    assert said == [f"sending UDP: address=('127.0.0.1', {port}) msg={text}" for text in arrived]
    assert len(set(arrived)) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_udp_waits_for_echoes(host: str) -> None:
    said: list[str] = []
    with listening(listen_udp, ListenSettings(host=host, port=0)) as server:
        load = Load(count=2, text="hi\udcff", wait=SECONDS)
        counts = send_udp(*server.address, load, said.append, never())
    assert counts == SendCounts(2, 6, 2, 6)
    assert said[1] == "received UDP reply=hi\\xff"
    assert server.counters["messages"] == 2


def test_udp_does_not_take_another_datagram_for_the_echo() -> None:
    said: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            content, client = server.recvfrom(2000)
            server.sendto(b"late", client)
            server.sendto(content, client)

        thread = threading.Thread(target=answer)
        thread.start()
        load = Load(text="mine", wait=SECONDS)
        counts = send_udp(*address_of(server), load, said.append, never())
        thread.join()
    assert counts == SendCounts(1, 4, 1, 4)


def test_udp_without_an_echo_goes_on() -> None:
    said: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        load = Load(count=2, wait=0.01)
        counts = send_udp(*address_of(mute), load, said.append, never())
    assert counts == SendCounts(2, 158, 0, 0)
    assert said[1] == said[3] == "no UDP reply"


def test_udp_may_be_sent_where_nobody_listens_unless_a_reply_is_asked_for() -> None:
    (port,) = free_ports(1)
    assert send_udp("127.0.0.1", port, Load(count=3), print, never()).sent == 3
    with pytest.raises(NetworkPipelineError, match=f"nobody listens on 127.0.0.1:{port}: start"):
        send_udp("127.0.0.1", port, Load(count=3, wait=SECONDS), print, never())


def test_a_datagram_that_is_too_long_is_an_error() -> None:
    with pytest.raises(NetworkPipelineError, match="Message too long"):
        send_udp("127.0.0.1", 9, Load(text="x" * 70_000), print, never())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp_sends_each_message_over_its_own_connection(host: str) -> None:
    said: list[str] = []
    with listening(listen_tcp, ListenSettings(host=host, port=0)) as server:
        counts = send_tcp(*server.address, Load(count=3, wait=SECONDS), said.append, never())
    assert counts == SendCounts(3, 3 * 79, 3, 3 * 79)
    assert server.counters["clients"] == 3
    assert said[0].startswith(
        f"sending TCP: address=({host!r}, {server.address[1]}) msg=testing TCP"
    )
    assert [line.partition("=")[2] for line in said[1::2]] == [
        line.partition("msg=")[2] for line in said[0::2]
    ]


def test_tcp_gives_up_on_a_reply_that_does_not_come() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        counts = send_tcp(*address_of(mute), Load(text="hi", wait=0.01), said.append, never())
        connection, _ = mute.accept()
        with connection:
            assert connection.recv(10) == b"hi"
            assert connection.recv(10) == b""
    assert counts == SendCounts(1, 2, 0, 0)
    assert said[1] == "no TCP reply"


def test_tcp_does_not_wait_where_it_is_not_asked_to() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        counts = send_tcp(*address_of(mute), Load(text="hi"), said.append, never())
    assert counts == SendCounts(1, 2, 0, 0)
    assert len(said) == 1


def test_a_large_message_to_an_echo_server_that_holds_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("network_pipeline.traffic.clients.MAX_UNSENT_BYTES", 1000)
    said: list[str] = []
    size = 20_000_000
    with listening(listen_tcp, ListenSettings(port=0, size=65536)) as server:
        counts = send_large_tcp(*server.address, size, SECONDS, said.append)
    assert counts == SendCounts(1, size, 1, size)
    assert server.counters["received_bytes"] == server.counters["sent_bytes"] == size
    assert f"size={size} msg=testing TCP msg time=" in said[0]
    assert said[1].endswith(f"... and {size - SHOWN_BYTES} bytes more")


@pytest.mark.parametrize("size", [1, 100, 65536, 100_000, 1024 * 1024])
def test_a_large_message_has_exactly_its_size(size: int) -> None:
    with listening(listen_tcp, ListenSettings(port=0, size=65536)) as server:
        assert send_large_tcp(*server.address, size, SECONDS, print) == (1, size, 1, size)


def test_a_peer_that_closes_early_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        with pytest.raises(NetworkPipelineError, match="closed the connection: start listen-tcp"):
            send_large_tcp(*address_of(server), 50_000_000, 1.0, print)
        thread.join()


def test_a_peer_that_takes_nothing_more_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "STALL_SECONDS", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(NetworkPipelineError, match="does not answer"),
    ):
        send_large_tcp(*address_of(mute), 50_000_000, 1.0, print)


def test_nobody_listens_on_tcp() -> None:
    (port,) = free_ports(1)
    expected = f"nobody listens on 127.0.0.1:{port}: start listen-tcp-port"
    with pytest.raises(NetworkPipelineError, match=expected) as error:
        send_tcp("127.0.0.1", port, Load(), print, never())
    assert error.value.exit_code == 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 100])
def test_no_such_host(host: str) -> None:
    for attempt in (send_tcp, send_udp):
        with pytest.raises(UsageError, match="no such host"):
            attempt(host, 80, Load(), print, never())


def test_a_day_is_the_longest_wait() -> None:
    with pytest.raises(UsageError, match="at most a day"):
        Load(wait=1e9)
    with pytest.raises(UsageError, match="at most a day"):
        send_large_tcp("127.0.0.1", 9, 1, 1e9, print)
