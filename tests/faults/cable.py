"""A cable between an agent's host and the broker's, and what can happen to it."""

from __future__ import annotations

from pathlib import Path

from tests import netns, servers

NEAR, FAR = "10.99.0.1", "10.99.0.2"
#: Who gets what is sent to a neighbour that was told this hardware address: nobody.
NOBODY = "02:00:00:00:00:99"


class Cable:
    """What can happen to the cable between two namespaces."""

    def __init__(self, near: netns.Namespace, far: netns.Namespace) -> None:
        self.near, self.far = near, far
        self._ends = ((near, FAR), (far, NEAR))

    def cut(self) -> None:
        self.near.ip("link", "set", "veth0", "down")

    def join(self) -> None:
        self.near.ip("link", "set", "veth0", "up")

    def swallow(self) -> None:
        """Let packets vanish in both directions; the link is up, and nobody is told."""
        for end, other in self._ends:
            end.ip("neigh", "replace", other, "lladdr", NOBODY, "dev", "veth0", "nud", "permanent")

    def pass_on(self) -> None:
        for end, other in self._ends:
            end.ip("neigh", "delete", other, "dev", "veth0")


def server_of(kind: str, directory: Path) -> servers.RedisServer | servers.RabbitServer:
    """Return a broker that is to be started at the far end."""
    made: servers.RedisServer | servers.RabbitServer
    if kind == "redis":
        made = servers.RedisServer(servers.redis_binary(), directory / kind)
    else:
        servers.require_rabbitmq()
        made = servers.RabbitServer(directory / kind)
    made.serve_at(FAR)
    return made
