"""Everything this package raises on purpose.

::

    NetworkPipelineError            exit code 1
    +-- UsageError                  2   a flag, variable or file the user named is wrong
    +-- BrokerError                 3   the message broker
    |   +-- BrokerUnreachable       3   nobody answers there
    |   +-- BrokerRefused           3   it answers and says no: credentials, permissions, TLS
    |   +-- BrokerLost              3   the connection broke; what was not acknowledged is void
    +-- CaptureError                1   a device or a filter
    |   +-- CapturePermissionError  4   CAP_NET_RAW is missing
    +-- DatasetError                1   a file that rows could not be written to
    +-- MessageError                1   a message that holds no frame; it is set aside, never fatal

A command turns the error that reaches its runner into one line on stderr and the exit code above.
"""

from __future__ import annotations


class NetworkPipelineError(Exception):
    """Base of all errors raised on purpose; the text is one line for a person, with what to do."""

    exit_code = 1


class UsageError(NetworkPipelineError):
    """A flag, an environment variable or a file that the user named is wrong."""

    exit_code = 2


class BrokerError(NetworkPipelineError):
    """The message broker cannot be used."""

    exit_code = 3


class BrokerUnreachable(BrokerError):
    """Nobody answers at the broker's address."""


class BrokerRefused(BrokerError):
    """The broker answers and refuses: wrong credentials, missing permission, bad certificate."""


class BrokerLost(BrokerError):
    """The connection broke. Deliveries that were not acknowledged will come again."""


class CaptureError(NetworkPipelineError):
    """A device cannot be captured on, or a filter does not compile."""


class CapturePermissionError(CaptureError):
    """The process may not open packet sockets."""

    exit_code = 4


class DatasetError(NetworkPipelineError):
    """Rows could not be made durable; none of them is in the file."""


class MessageError(NetworkPipelineError):
    """A message that cannot be turned into rows; the text is the reason, without its content."""
