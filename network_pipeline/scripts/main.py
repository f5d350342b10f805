"""network-pipeline: brokers and what they set aside, datasets, the demonstration."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from network_pipeline import rules, settings
from network_pipeline.options import BROKER_OPTIONS, Option
from network_pipeline.scripts import cli, datasets, rejected

PORT_OPTION = Option("port", "REDIS_PORT", "6379", rules.port, "port of the Redis on this machine")

_EXAMPLES = """\
examples:
  network-pipeline broker start      a Redis on localhost:6379, unless one answers there already
  sudo network-pipeline demo         capture, publish, process: real packets to a CSV in a minute
  network-pipeline columns           what every column of the CSV means
  network-pipeline rejected list     what could not become rows, and why
  network-pipeline verify /srv/packets
                                     is every frame a row, or known to be lost?

The other commands: capture-tcp, capture-udp, capture-icmp, capture-arp, capture-ssh,
capture-telnet, network-agent; packets-redis, packets-rabbitmq; packets-pcap, packets-flows,
capture-pcap; prepare-dataset, audit-dataset; tcp-send-msg, tcp-send-large-msg, udp-send-msg,
arp-send-msg, icmp-send-msg, listen-tcp-port, listen-udp-port. Each has --help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``network-pipeline``; return its exit code."""
    return cli.run_guarded("network-pipeline", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    given = build_parser().parse_args(arguments)
    action: Callable[[argparse.Namespace], None] = given.action
    action(given)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with its subcommands."""
    parser = argparse.ArgumentParser(
        prog="network-pipeline",
        description="Network traffic as datasets: the parts around the capture commands.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    cli.add_common_flags(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_broker(commands)
    rejected.add_to(commands)
    datasets.add_to(commands)
    demo = commands.add_parser(
        "demo",
        help="run the main job on real packets and show the rows (needs root)",
        description="Run the whole pipeline for half a minute on packets that it makes itself: a "
        "packet processor, the four capture commands, web, UDP, DNS, ping and ARP traffic. Exits "
        "0 only if every protocol has rows and nothing was lost.",
    )
    cli.add_options(demo, [BROKER_OPTIONS[0]])
    demo.set_defaults(action=_demo)
    columns = commands.add_parser("columns", help="show what every column of a dataset means")
    columns.add_argument(
        "--of", choices=("packets", "flows"), default="packets", help="whose columns (packets)"
    )
    columns.add_argument("--rst", action="store_true", help="as a reStructuredText table")
    columns.set_defaults(action=_columns)
    return parser


def _add_broker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    broker = commands.add_parser("broker", help="start, stop or look at the Redis on this machine")
    actions = broker.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text, action in (
        ("start", "use what answers on the port, else start a server and leave it running", _start),
        ("stop", "stop the server that 'start' started; what it holds stays on disk", _stop),
        ("status", "say what answers on the port; exit code 3 if nothing does", _status),
    ):
        parser = actions.add_parser(name, help=text, description=text)
        cli.add_options(parser, [PORT_OPTION])
        parser.set_defaults(action=action)


def _state_dir() -> Path:
    return settings.state_dir(settings.environment())


def _port(given: argparse.Namespace) -> int:
    number: int = PORT_OPTION.value(given.port, settings.environment())
    return number


def _start(given: argparse.Namespace) -> None:
    from network_pipeline.broker import embedded  # noqa: PLC0415

    print(embedded.ensure(_state_dir(), _port(given)))


def _stop(given: argparse.Namespace) -> None:
    from network_pipeline.broker import embedded  # noqa: PLC0415

    print(embedded.stop(_state_dir(), _port(given)))


def _status(given: argparse.Namespace) -> None:
    from network_pipeline.broker import embedded  # noqa: PLC0415

    print(embedded.status(_state_dir(), _port(given)))


def _columns(given: argparse.Namespace) -> None:
    from network_pipeline import dictionary  # noqa: PLC0415

    if given.of == "flows" and given.rst:
        print(dictionary.flows_as_rst(), end="")
    elif given.of == "flows":
        print(*dictionary.flows_as_text(), sep="\n")
    elif given.rst:
        print(dictionary.as_rst(), end="")
    else:
        print(*dictionary.as_text(), sep="\n")


def _demo(given: argparse.Namespace) -> None:
    from network_pipeline import demo  # noqa: PLC0415

    variables = settings.environment()
    url = BROKER_OPTIONS[0].value(given.broker, variables)
    demo.show(settings.BrokerSettings(url=url))
