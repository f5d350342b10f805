"""listen-tcp-port and listen-udp-port: servers that echo, to send simulated traffic to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from network_pipeline import rules
from network_pipeline.options import Option
from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.traffic.listen import ListenSettings

TCP_OPTIONS = (
    Option("host", "LISTEN_ON_HOST", "127.0.0.1", rules.word, "address to listen on", "HOST"),
    Option("port", "LISTEN_ON_PORT", "80", rules.port, "port to listen on"),
    Option("backlog", "LISTEN_BACKLOG", "5", rules.whole_number(1),
           "connections that may wait to be accepted"),
    Option("size", "LISTEN_SIZE", "1024", rules.whole_number(1), "bytes to read at once",
           "BYTES"),
    Option("shutdown_file", "LISTEN_SHUTDOWN_HOOK", "", rules.text_value,
           "file whose appearance ends the server", "FILE",
           shown="/tmp/shutdown-listen-server-HOST-PORT"),
)  # fmt: skip
UDP_OPTIONS = (
    Option("host", "UDP_LISTEN_ON_HOST", "127.0.0.1", rules.word, "address to listen on",
           "HOST"),
    Option("port", "UDP_LISTEN_ON_PORT", "17000", rules.port, "port to listen on"),
    Option("size", "UDP_LISTEN_SIZE", "65535", rules.whole_number(1),
           "bytes of a datagram that are read; a longer one is cut, and said", "BYTES"),
    Option("shutdown_file", "UDP_LISTEN_SHUTDOWN_HOOK", "", rules.text_value,
           "file whose appearance ends the server", "FILE",
           shown="/tmp/udp-shutdown-listen-server-HOST-PORT"),
)  # fmt: skip

#: All of them, for the docs.
OPTIONS = (*TCP_OPTIONS, *UDP_OPTIONS)

_EXAMPLES = """\
examples:
  {name} --port {port}
  {name} --host ::
  touch /tmp/{file}-127.0.0.1-{port}     ends it, as Ctrl-C does"""


def tcp() -> int:
    """Run ``listen-tcp-port``."""
    return cli.execute(
        cli.Command(
            name="listen-tcp-port",
            summary="Echo what TCP clients send; an HTTP request gets itself as the response.",
            options=TCP_OPTIONS,
            run=_listen_tcp,
            examples=_EXAMPLES.format(
                name="listen-tcp-port", port=80, file="shutdown-listen-server"
            ),
        )
    )


def udp() -> int:
    """Run ``listen-udp-port``."""
    return cli.execute(
        cli.Command(
            name="listen-udp-port",
            summary="Echo what UDP clients send.",
            options=UDP_OPTIONS,
            run=_listen_udp,
            examples=_EXAMPLES.format(
                name="listen-udp-port", port=17000, file="udp-shutdown-listen-server"
            ),
        )
    )


def _settings(values: cli.Values) -> ListenSettings:
    from network_pipeline.traffic.listen import ListenSettings  # noqa: PLC0415

    shutdown_file = Path(values["shutdown_file"]) if values["shutdown_file"] else None
    given = {name: values[name] for name in ("host", "port", "size", "backlog") if name in values}
    return ListenSettings(**given, shutdown_file=shutdown_file)


def _say(text: str) -> None:
    print(text, flush=True)


def _listen_tcp(values: cli.Values) -> None:
    from network_pipeline.traffic.listen import listen_tcp  # noqa: PLC0415

    counters = listen_tcp(_settings(values), _say, cli.stop_on_signals())
    _say(f"ended: {counters}")


def _listen_udp(values: cli.Values) -> None:
    from network_pipeline.traffic.listen import listen_udp  # noqa: PLC0415

    counters = listen_udp(_settings(values), _say, cli.stop_on_signals())
    _say(f"ended: {counters}")
