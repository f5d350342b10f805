"""Logging, through spylunking: talk on the console, and in Splunk where the settings ask for it.

Console: spylunking's ``setup_logging`` loads a ``dictConfig`` file, ours or that of ``LOG_CFG``.
Ours writes to whatever stderr is when a record comes, so that a live display can take it over, with
colours on a terminal only.

Splunk: spylunking's formatter makes the events, its ``get_token`` finds the token and its
``send_to_splunk`` posts them; :mod:`network_pipeline.splunk` sees to it that nobody waits for that.

Every handler filters passwords out of URLs: the last line of defence, nothing should log one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TextIO

from network_pipeline.errors import UsageError
from network_pipeline.settings import SplunkSettings, environment
from network_pipeline.splunk import Login, SplunkQueue, Spylunking

_CONSOLE_CONFIG = Path(__file__).parent / "log" / "console-logging.json"

_log = logging.getLogger(__name__)


# -- passwords -------------------------------------------------------------------------------------

# Greedy up to the last @ before white space or the next URL: a password may hold any of :/@.
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*):(?:(?!://)\S)*@")
_QUERY_PASSWORD = re.compile(r"([?&]password=)[^\s&;]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Return ``text`` with ``***`` for every password in a URL."""
    if "://" not in text:
        return text
    return _QUERY_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


class PasswordFilter(logging.Filter):
    """Takes passwords of URLs out of a record: message, arguments, traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record where it holds a password; it always passes."""
        message = _merged(record)
        if (clean := without_passwords(message)) != message:
            record.msg, record.args = clean, ()
        trace = record.exc_text or ""
        if record.exc_info and not trace:
            trace = logging.Formatter().formatException(record.exc_info)
        if (clean := without_passwords(trace)) != trace:
            record.exc_text, record.exc_info = clean, None
        return True


_PASSWORDS = PasswordFilter()


def _merged(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):
        # logging would print the arguments as they are, passwords and all.
        record.msg, record.args = f"{record.msg} (with arguments that do not fit)", ()
        return record.msg


# -- set-up ----------------------------------------------------------------------------------------


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)


def setup(
    log_config: Path | None, splunk: SplunkSettings | None, *, name: str, sends_later: bool = False
) -> None:
    """Set up logging for the command ``name``; a second call replaces the first.

    With ``sends_later`` what is for Splunk waits, in a bounded queue, for :func:`begin_to_send`.

    Raises:
        UsageError: the configuration file, or an address of Splunk's, is wrong.
    """
    shutdown()
    _configure(log_config or _CONSOLE_CONFIG)
    if splunk is not None:
        logging.root.addHandler(_splunk_queue(splunk, name))
    for handler in _handlers():
        handler.addFilter(_PASSWORDS)
    if not sends_later:
        begin_to_send()


def begin_to_send() -> None:
    """Start the thread that sends to Splunk: it keeps the privileges that there are now."""
    for handler in _splunk_queues():
        handler.start()


def shutdown() -> None:
    """Send what waits for Splunk, for a few seconds at most, and say what is lost."""
    for handler in _splunk_queues():
        logging.root.removeHandler(handler)
        handler.stop()


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Have nothing under way to Splunk that a child would take over in the midst of it."""
    with contextlib.ExitStack() as paused:
        for handler in _splunk_queues():
            paused.enter_context(handler.paused())
        yield


def go_on_in_child() -> None:
    """In a process that was forked: log as its parent does; it ends with :func:`shutdown`."""
    for handler in _splunk_queues():
        logging.root.removeHandler(handler)
        own = handler.renewed()
        own.addFilter(_PASSWORDS)
        own.start()
        logging.root.addHandler(own)


def _configure(path: Path) -> None:
    _check(path)
    setup_logging = _spylunking().setup_logging
    try:
        # It may print, and stdout is for data. Absolute, since it splits the path at slashes; no
        # handler name, since it would add that handler to the root unasked.
        with contextlib.redirect_stdout(sys.stderr):
            setup_logging(default_path=str(path.resolve()), env_key="", handler_name="")
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise UsageError(f"logging configuration {path}: {without_passwords(reason)}") from None


def _check(path: Path) -> None:
    if "LOG_DICT" in environment():
        raise UsageError("LOG_DICT: unset it, put the configuration in a file and name it LOG_CFG")
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"logging configuration {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"logging configuration {path}: not JSON: {error}") from None
    try:
        names = config["root"]["handlers"]
        known = all(name in config["handlers"] for name in names)
    except (KeyError, TypeError):
        raise UsageError(
            f"logging configuration {path}: must have handlers, and root with handlers"
        ) from None
    if not known or not names:
        raise UsageError(
            f"logging configuration {path}: root names no handler, or one that is not there"
        )


def _spylunking() -> ModuleType:
    """Import spylunking, which reads the environment as it is imported.

    It uses what Python 3.12 and its JSON formatter deprecate, for each event; nobody who runs a
    command can mend that.
    """
    theirs = r"(spylunking|pythonjsonlogger)\."
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=theirs)
    try:
        from spylunking.log import setup_logging as module  # type: ignore # noqa: PLC0415
    except ValueError as error:
        raise UsageError(f"a SPLUNK_* variable must be a number: {error}") from None
    imported: ModuleType = module
    return imported


def _handlers() -> set[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return {h for logger in loggers if isinstance(logger, logging.Logger) for h in logger.handlers}


def _splunk_queues() -> list[SplunkQueue]:
    return [h for h in logging.root.handlers if isinstance(h, SplunkQueue)]


def _splunk_queue(settings: SplunkSettings, name: str) -> SplunkQueue:
    for variable, address in (
        ("SPLUNK_ADDRESS", settings.address),
        ("SPLUNK_API_ADDRESS", settings.api_address),
    ):
        if not re.fullmatch(r"[^\s/@]+:[0-9]{1,5}", address):
            raise UsageError(f"{variable}={address}: must be host:port, it is reached by https")
    if not settings.token.isascii():
        raise UsageError("SPLUNK_TOKEN: must be the UUID of an HTTP Event Collector")
    if not settings.verify:
        _log.warning("SPLUNK_VERIFY=0: anybody between here and Splunk can read and take the logs")
    return SplunkQueue(settings, _splunk_parts(), name)


def _splunk_parts() -> Spylunking:
    """Return what spylunking does, with all that it imports only when it does so: where root has
    been given up by then, its files may be out of reach.
    """
    import encodings.ascii  # noqa: PLC0415
    import encodings.idna  # noqa: F401, PLC0415
    import xml.dom.expatbuilder  # noqa: F401, PLC0415

    formatter = _spylunking().SplunkFormatter()
    from spylunking import get_token, send_to_splunk  # type: ignore # noqa: PLC0415

    def find_token(login: Login, url: str) -> str | None:
        get_token.requests = login
        token: str | None = get_token.get_token(url=url)
        return token

    return Spylunking(formatter, send_to_splunk.send_to_splunk, find_token)
