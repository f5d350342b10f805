"""What all commands share: a parser built from a table of options, and the runner.

A command is a :class:`Command`: a name, texts, a table of options and a function that takes their
values. The runner turns the error that ends it into one line and an exit code, so a command never
catches one itself. Heavy packages are imported by the function, never above it: ``--help`` and
``--print-completion`` stay instant.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from network_pipeline import __version__, places, settings
from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.options import LOG_OPTION, Option
from network_pipeline.scripts import standard_streams

if TYPE_CHECKING:
    from network_pipeline.capture.file_filter import FileFilter

EXIT_INTERRUPTED = 130

Values = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """One command of the suite.

    ``check`` names what it validated, a line each; ``--check`` is offered where it is given, and
    ``--status`` where ``status`` is, which prints how the running one does.
    ``logs_later`` says that it lets logs go to Splunk itself, once it has given its privileges up.
    ``files`` says what files the command takes, where it takes some: their names are the value
    ``files``.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    run: Callable[[Values], None]
    check: Callable[[Values], Sequence[str]] | None = None
    status: Callable[[Values], None] | None = None
    examples: str = ""
    files: str = ""
    logs_later: bool = False


def execute(command: Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command with its arguments (default: those of the process); return its exit code."""
    return run_guarded(command.name, lambda: _run(command, arguments))


def run_guarded(name: str, action: Callable[[], None]) -> int:
    """Call ``action``; whatever it raises becomes one line on stderr and an exit code."""
    standard_streams.prepare()
    code = 0
    try:
        action()
    except NetworkPipelineError as error:
        standard_streams.complain(f"{name}: {error}")
        code = error.exit_code
    except SystemExit as end:  # argparse has said all
        code = int(end.code or 0)
    except KeyboardInterrupt:  # before, or after, the time in which signals end it in good order
        standard_streams.complain(f"{name}: interrupted")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        pass  # whoever read our output has enough (`| head`)
    except OSError as error:
        _log.debug("%s: stopped", name, exc_info=True)
        standard_streams.complain(f"{name}: {error}")
        code = 1
    except Exception:
        _log.exception("%s: stopped by an error in the program itself, please report it", name)
        code = 1
    refusal = standard_streams.flush()
    if code == 0 and refusal and not isinstance(refusal, BrokenPipeError):
        standard_streams.complain(f"{name}: standard output: {refusal.strerror}")
        code = 1
    return code


def _run(command: Command, arguments: Sequence[str] | None) -> None:
    given = build_parser(command).parse_args(arguments)
    settings.keep_freed_memory()
    settings.keep_algebra_in_one_thread()
    variables = settings.environment()
    options = (*command.options, LOG_OPTION)
    values = {option.name: _value(option, given, variables) for option in options}
    if command.files:
        values["files"] = given.files
    with logging_set_up(command, values["log_config"]):
        if command.check and given.check:
            for line in command.check(values):
                print(f"ok  {line}")
        elif command.status and given.status:
            command.status(values)
        else:
            command.run(values)


def _value(option: Option, given: argparse.Namespace, variables: Mapping[str, str]) -> Any:
    text = getattr(given, option.name)
    return option.value(",".join(text) if isinstance(text, list) else text, variables)


@contextlib.contextmanager
def logging_set_up(command: Command, log_config: str) -> Iterator[None]:
    """Log as the user configured while the block runs, then flush."""
    from network_pipeline import logs  # noqa: PLC0415  spylunking is slow to import

    splunk = settings.splunk_settings(settings.environment())
    path = Path(log_config) if log_config else None
    logs.setup(path, splunk, name=command.name, sends_later=command.logs_later)
    try:
        yield
    finally:
        logs.shutdown()


def build_parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of a command: its options, then those that all commands have."""
    parser = argparse.ArgumentParser(
        prog=command.name,
        description=command.summary,
        epilog=command.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if command.files:
        parser.add_argument("files", metavar="FILE", nargs="+", type=file_name, help=command.files)
    add_options(parser, (*command.options, LOG_OPTION))
    if command.check:
        parser.add_argument(
            "--check", action="store_true", help="validate everything, start nothing, and say so"
        )
    if command.status:
        parser.add_argument(
            "--status", action="store_true", help="print how the one that runs does, start nothing"
        )
    add_common_flags(parser)
    return parser


def file_name(text: str) -> str:
    """Take the name of an input: not an empty one, of an unset variable, which would be ``.``."""
    if not text:
        raise argparse.ArgumentTypeError("a name is empty")
    return text


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Add a flag for every option; what it is not given is left to the option to find."""
    for option in options:
        parser.add_argument(
            option.flag,
            dest=option.name,
            metavar=option.metavar,
            action="append" if option.repeatable else "store",
            help=option.described.replace("%", "%%"),
        )


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--version`` and ``--print-completion``."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--print-completion",
        metavar="SHELL",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print the completion script for bash, zsh or tcsh",
    )


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *values: Any) -> None:
        import shtab  # noqa: PLC0415  only needed here

        print(shtab.complete(parser, shell=str(values[1])))
        parser.exit()


def file_filter(values: Values) -> FileFilter | None:
    """Return the filter of ``FILE_FILTER_OPTION``, which libpcap takes; None for all frames.

    Raises:
        UsageError: it does not compile.
    """
    from network_pipeline.capture.file_filter import FileFilter  # noqa: PLC0415

    if not values["filter"]:
        return None
    found = FileFilter(values["filter"])
    found.check()
    return found


def payload_key(values: Values) -> bytes | None:
    """Return the key that the parsed values of ``PAYLOAD_OPTIONS`` ask for.

    Raises:
        UsageError: it cannot be read, or not be made.
    """
    from network_pipeline import payload_key as keys  # noqa: PLC0415

    if values["payload"] != "hash":
        return None
    if values["payload_key_file"]:
        return keys.load(Path(values["payload_key_file"]))
    return keys.load_or_make(settings.state_dir(settings.environment()) / "payload.key")


def is_partitioned(output: str, address: str) -> bool:
    """Return whether an output is a directory of partitions.

    Raises:
        UsageError: it is none, and it must be, elsewhere or with a cluster.
    """
    if places.is_directory(output):
        return True
    if places.is_remote(output):
        raise UsageError(f"{places.shown(output)}: datasets elsewhere are partitioned: {output}/")
    if address:
        raise UsageError("a cluster writes partitions: --output must be a directory, with / behind")
    return False


def for_workers(values: Values, *names: str) -> Values:
    """Return values whose places mean the same to the workers of a cluster, if there is one."""
    if not values["dask"]:
        return values
    places_of = {name: places.absolute(values[name]) for name in names if values[name]}
    return {**values, **places_of, "files": [places.absolute(each) for each in values["files"]]}


@contextlib.contextmanager
def ended_by_signals(told: str = "nothing was written") -> Iterator[None]:
    """Let SIGTERM and SIGINT end the block as an error does, so that it leaves nothing behind.

    ``told`` is what is there then.

    Raises:
        NetworkPipelineError: a signal came.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise NetworkPipelineError(f"stopped; {told}") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(EXIT_INTERRUPTED)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
