"""tcp-send-msg, tcp-send-large-msg, udp-send-msg, arp-send-msg, icmp-send-msg."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from network_pipeline import rules
from network_pipeline.options import Option
from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.traffic.send import Load, SendCounts

TCP_OPTIONS = (
    Option("host", "TCP_SEND_TO_IP", "127.0.0.1", rules.word, "address to send to", "HOST"),
    Option("port", "TCP_SEND_TO_PORT", "80", rules.port, "port to send to"),
    Option("wait", "TCP_SEND_WAIT", "1", rules.number(0),
           "wait this long for a reply, 0: do not", "SECONDS"),
)  # fmt: skip
UDP_OPTIONS = (
    Option("host", "UDP_SEND_TO_IP", "127.0.0.1", rules.word, "address to send to", "HOST"),
    Option("port", "UDP_SEND_TO_PORT", "17000", rules.port, "port to send to"),
    Option("wait", "UDP_SEND_WAIT", "0", rules.number(0),
           "wait this long for a reply, 0: do not", "SECONDS"),
)  # fmt: skip
ICMP_OPTIONS = (
    Option("host", "ICMP_SEND_TO_IP", "127.0.0.1", rules.word, "address to send to", "HOST"),
    Option("wait", "ICMP_SEND_WAIT", "1", rules.number(0),
           "wait this long for a reply, 0: do not", "SECONDS"),
)  # fmt: skip
ARP_OPTIONS = (
    Option("device", "ARP_SEND_DEVICE", "lo", rules.word, "device to send on", "NAME"),
    Option("address", "ARP_SEND_TO_IP", "", rules.optional_word,
           "address to ask for", "IPV4", shown="the device's own"),
    Option("mac", "ARP_SEND_TO_MAC", "ff:ff:ff:ff:ff:ff", rules.word,
           "Ethernet address to send to", "MAC"),
)  # fmt: skip
SIZE_OPTION = Option("size", "TCP_SEND_SIZE", "1048576", rules.whole_number(1),
                     "bytes of the message", "BYTES")  # fmt: skip
LOAD_OPTIONS = (
    Option("count", "SEND_COUNT", "1", rules.whole_number(0),
           "messages to send, 0: until stopped"),
    Option("rate", "SEND_RATE", "0", rules.number(0), "messages a second, 0: no limit"),
    Option("message", "SEND_MESSAGE", "", rules.text_value, "text to send", "TEXT",
           shown="one with the time and a UUID"),
)  # fmt: skip
#: All of them, for the docs.
OPTIONS = (*TCP_OPTIONS, *UDP_OPTIONS, *ICMP_OPTIONS, *ARP_OPTIONS, *LOAD_OPTIONS, SIZE_OPTION)


def tcp() -> int:
    """Run ``tcp-send-msg``."""
    return _execute(
        "tcp-send-msg",
        "Send messages over TCP, each over a connection of its own, and print the replies.",
        (*TCP_OPTIONS, *LOAD_OPTIONS),
        _send_tcp,
        "  tcp-send-msg                              one message to 127.0.0.1:80\n"
        "  tcp-send-msg --port 8080 --count 100 --rate 10",
    )


def tcp_large() -> int:
    """Run ``tcp-send-large-msg``."""
    return _execute(
        "tcp-send-large-msg",
        "Send one large message over TCP.",
        (*TCP_OPTIONS, SIZE_OPTION),
        _send_large_tcp,
        "  tcp-send-large-msg                        1 MiB to 127.0.0.1:80, for: nc -l 80\n"
        "  tcp-send-large-msg --port 8080 --size 100000000",
    )


def udp() -> int:
    """Run ``udp-send-msg``."""
    return _execute(
        "udp-send-msg",
        "Send messages over UDP.",
        (*UDP_OPTIONS, *LOAD_OPTIONS),
        _send_udp,
        "  udp-send-msg                              one message to 127.0.0.1:17000\n"
        "  udp-send-msg --count 10000 --rate 500",
    )


def arp() -> int:
    """Run ``arp-send-msg``."""
    return _execute(
        "arp-send-msg",
        "Send ARP requests on a device. Needs root or CAP_NET_RAW.",
        (*ARP_OPTIONS, *LOAD_OPTIONS[:2]),
        _send_arp,
        "  sudo arp-send-msg                         ask for our own address, on lo\n"
        "  sudo arp-send-msg --device eth0 --address 192.0.2.1 --count 3 --rate 1",
    )


def icmp() -> int:
    """Run ``icmp-send-msg``."""
    return _execute(
        "icmp-send-msg",
        "Send ICMP or ICMPv6 echo requests, and print the replies.",
        (*ICMP_OPTIONS, *LOAD_OPTIONS),
        _send_icmp,
        "  icmp-send-msg --count 3 --rate 1          to 127.0.0.1\n  icmp-send-msg --host ::1",
    )


def _execute(
    name: str,
    summary: str,
    options: tuple[Option, ...],
    run: Callable[[cli.Values], SendCounts],
    examples: str,
) -> int:
    def send_and_sum_up(values: cli.Values) -> None:
        counts = run(values)
        print(f"sent {counts.sent} messages, {counts.sent_bytes} bytes", end="")
        print(f"; {counts.replies} replies" if values.get("wait") else "")

    return cli.execute(
        cli.Command(name, summary, options, send_and_sum_up, examples=f"examples:\n{examples}")
    )


def _load(values: cli.Values) -> Load:
    from network_pipeline.traffic.send import Load  # noqa: PLC0415

    return Load(
        count=values["count"],
        rate=values["rate"],
        text=values.get("message", ""),
        wait=values.get("wait", 0.0),
    )


def _send_tcp(values: cli.Values) -> SendCounts:
    from network_pipeline.traffic.send import send_tcp  # noqa: PLC0415

    stop = cli.stop_on_signals()
    return send_tcp(values["host"], values["port"], _load(values), print, stop)


def _send_large_tcp(values: cli.Values) -> SendCounts:
    from network_pipeline.traffic.send import send_large_tcp  # noqa: PLC0415

    return send_large_tcp(values["host"], values["port"], values["size"], values["wait"], print)


def _send_udp(values: cli.Values) -> SendCounts:
    from network_pipeline.traffic.send import send_udp  # noqa: PLC0415

    stop = cli.stop_on_signals()
    return send_udp(values["host"], values["port"], _load(values), print, stop)


def _send_arp(values: cli.Values) -> SendCounts:
    from network_pipeline.traffic.probe import ArpTarget, send_arp  # noqa: PLC0415

    target = ArpTarget(values["device"], values["address"], values["mac"])
    return send_arp(target, _load(values), print, cli.stop_on_signals())


def _send_icmp(values: cli.Values) -> SendCounts:
    from network_pipeline.traffic.probe import send_icmp  # noqa: PLC0415

    return send_icmp(values["host"], _load(values), print, cli.stop_on_signals())
