"""network-pipeline rejected: what could not become rows, listed, shown, put back or dropped."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from network_pipeline import rules, settings
from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.options import BROKER_OPTIONS
from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.broker.rejected import RejectedMessage, RejectedQueue

OPTIONS = tuple(
    option
    for option in BROKER_OPTIONS
    if option.name in ("broker", "ssl_options", "queue", "key_prefix")
)

_DESCRIPTION = """\
A message that cannot become rows is set aside: it holds no frame, is of another version, or ended
its processor time and again. It stays in the queue NAME.rejected until somebody decides. 'show'
prints no payload unless asked to. On RabbitMQ a message can only be looked at by taking it out:
it is given back at the end, others do not see it meanwhile, and up to 1,000 keep their order."""

_BATCH = 32
_TEXT_CHARACTERS = 200
_TITLES = ("ID", "WHEN", "FRAMES", "BYTES", "SOURCE", "SESSION", "CONTENT TYPE", "REASON")
_LINE = "{:<21}  {:<20}  {:>7}  {:>9}  {:<20}  {:<36}  {:<34}  {}"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``rejected`` with its actions to the commands of ``network-pipeline``."""
    rejected = commands.add_parser(
        "rejected",
        help="list, show, put back or drop messages that could not become rows",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = rejected.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _add(actions, "list", "a line for each, oldest first", _list)
    listing.add_argument("--limit", metavar="N", type=_count, default=100,
                         help="at most this many lines [default: 100]")  # fmt: skip
    show = _add(actions, "show", "headers of one message", _show)
    show.add_argument("id", metavar="ID", help="as 'list' names it")
    show.add_argument("--body", action="store_true",
                      help="write the body instead, as it is; as hex on a terminal")  # fmt: skip
    requeue = _add(actions, "requeue", "put messages back into the queue", _requeue)
    drop = _add(actions, "drop", "remove messages for good", _drop)
    drop.add_argument("--yes", action="store_true", help="do not ask")
    for parser in (requeue, drop):
        parser.add_argument("ids", metavar="ID", nargs="*", help="as 'list' names it")
        parser.add_argument("--all", action="store_true", help="all that are there now")


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    action: Callable[[RejectedQueue, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    cli.add_options(parser, OPTIONS)
    parser.set_defaults(action=lambda given: _on_queue(given, action))
    return parser


def _on_queue(
    given: argparse.Namespace, action: Callable[[RejectedQueue, argparse.Namespace], None]
) -> None:
    from network_pipeline.broker.rejected import RejectedQueue  # noqa: PLC0415

    variables = settings.environment()
    values: dict[str, Any] = {
        option.name: option.value(getattr(given, option.name), variables) for option in OPTIONS
    }
    queue = RejectedQueue(
        settings.BrokerSettings(
            url=values["broker"],
            queue=values["queue"],
            ssl_options=values["ssl_options"],
            key_prefix=values["key_prefix"],
        )
    )
    queue.start()
    try:
        action(queue, given)
    finally:
        queue.stop()


def _list(queue: RejectedQueue, given: argparse.Namespace) -> None:
    there = queue.count()
    print(_LINE.format(*_TITLES))
    shown = 0
    for message in islice(queue.messages(), given.limit):
        print(_line(message))
        shown += 1
    print(f"{shown} of {there} messages", file=sys.stderr)


def _line(message: RejectedMessage) -> str:
    headers = [_printable(message.headers.get(name)) for name in ("count", "source", "session")]
    frames, source, session = headers
    return _LINE.format(
        message.id, _when(message), frames, len(message.body), source, session,
        _printable(message.content_type), _printable(message.reason),
    ).rstrip()  # fmt: skip


def _show(queue: RejectedQueue, given: argparse.Namespace) -> None:
    [[message]] = _batches(queue, [given.id])
    if given.body:
        _write_body(message.body)
        return
    facts = {
        "id": message.id,
        "when": _when(message),
        "reason": message.reason,
        "content type": message.content_type,
        "bytes": len(message.body),
        **{f"header {name}": value for name, value in sorted(message.headers.items())},
    }
    for name, value in facts.items():
        print(f"{_printable(name)}: {_printable(value)}")


def _write_body(body: bytes) -> None:
    if sys.stdout.isatty():
        print(body.hex())
    else:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()


def _requeue(queue: RejectedQueue, given: argparse.Namespace) -> None:
    done = 0
    with _said_at_the_end(lambda: f"{done} messages are in the queue again"):
        for batch in _batches(queue, _ids(given)):
            taken = queue.requeue(batch)
            done += taken
            if taken < len(batch):
                raise NetworkPipelineError(
                    f"the queue takes no more: {queue.refusal()}; the others stay where they were"
                )


def _drop(queue: RejectedQueue, given: argparse.Namespace) -> None:
    ids = _ids(given)
    there = len(ids) or queue.count()
    if not given.yes:
        _ask(f"drop {there} messages for good?")
    done = 0
    with _said_at_the_end(lambda: f"{done} messages dropped"):
        for batch in _batches(queue, ids):
            done += queue.drop(batch)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Say --yes, there is no terminal to ask on")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise NetworkPipelineError("nothing was dropped")


@contextlib.contextmanager
def _said_at_the_end(text: Callable[[], str]) -> Iterator[None]:
    """Print what was done, also when an error ends it."""
    try:
        yield
    finally:
        print(text())


def _ids(given: argparse.Namespace) -> Sequence[str]:
    """Return the ids that the user named, none for all."""
    ids: Sequence[str] = given.ids
    if bool(ids) == given.all:
        raise UsageError("name messages by their ids, or say --all")
    return ids


def _batches(queue: RejectedQueue, ids: Sequence[str]) -> Iterator[list[RejectedMessage]]:
    """Yield the messages with these ids, one for each, or all if there are none.

    Raises:
        UsageError: at the end, where some are not there.
    """
    missing = list(ids)
    chosen = _with_ids(queue, missing) if ids else queue.messages()
    while batch := list(islice(chosen, _BATCH)):
        yield batch
    if missing:
        raise UsageError(f"no such rejected message: {' '.join(missing)}")


def _with_ids(queue: RejectedQueue, missing: list[str]) -> Iterator[RejectedMessage]:
    """Yield messages and take their ids off the list, until it is empty."""
    for message in queue.messages():
        if message.id in missing:
            missing.remove(message.id)
            yield message
        if not missing:
            return


def _when(message: RejectedMessage) -> str:
    return f"{message.when:%Y-%m-%dT%H:%M:%SZ}" if message.when else "-"


def _printable(value: object) -> str:
    """Return a header as text that cannot steer a terminal; other programs wrote it."""
    text = "-" if value is None else str(value)[:_TEXT_CHARACTERS]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _count(text: str) -> int:
    try:
        return rules.whole_number(1)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
