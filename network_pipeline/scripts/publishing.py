"""Where commands that capture keep what the broker does not take, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from network_pipeline import settings
from network_pipeline.scripts import cli


def limits(values: cli.Values) -> settings.PublisherSettings:
    """Choose the spool's directory; make it where the user to come could not."""
    from network_pipeline import privileges  # noqa: PLC0415

    given = settings.publisher_settings(values)
    if given.spool_dir or not given.spool_max_bytes:
        return given
    variables = settings.environment()
    user = privileges.successor(settings.invoking_user(variables))
    place = settings.spool_dir(variables, user)
    if user and place.is_relative_to(settings.SYSTEM_STATE_DIR):
        privileges.make_directory(place, user)
    return replace(given, spool_dir=place)


def sessions(limits: settings.PublisherSettings, broker: settings.BrokerSettings) -> Path | None:
    """Return the directory for ledgers of sessions, beside the spool; None without one."""
    return limits.spool_dir / f"sessions-{broker.destination}" if limits.spool_dir else None


def checks(
    limits: settings.PublisherSettings, broker: settings.BrokerSettings
) -> Callable[[], list[str]]:
    """Import what is needed, while root may still read it, and return the checks.

    They see whether spool and broker can be used and return a line for each; they raise UsageError
    or BrokerError where not.
    """
    from network_pipeline.broker import durability, topology  # noqa: PLC0415
    from network_pipeline.broker.spool_directory import SpoolDirectory  # noqa: PLC0415

    def check() -> list[str]:
        if limits.has_spool:
            SpoolDirectory(broker, limits).check()
        topology.check(broker)
        durability.warn(broker)
        spool = f"spool {limits.spool_dir}" if limits.has_spool else "no spool"
        return [f"broker {broker.safe_url}", spool]

    return check
