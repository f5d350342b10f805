"""YAML as a tree whose items know their line, so that an error can name it.

Every scalar is its text, whatever it looks like: the reader of a value says what it must be, so
``no`` is no truth value and ``22:22`` no number. Nothing is constructed but text, lists and
mappings; aliases are refused, since a small file can be endless with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from network_pipeline.errors import UsageError

T = TypeVar("T")

_MOST_BYTES = 16 * 2**20
_MOST_DEPTH = 16


@dataclass(frozen=True)
class Item:
    """A text, a list or a mapping at a line of a file; ``about`` says whose it is."""

    value: str | list[Item] | dict[str, Item]
    file: str
    line: int
    about: str = ""

    def error(self, text: str) -> UsageError:
        """Return the error that names the place and says ``text``."""
        about = f"{self.about}: " if self.about else ""
        return UsageError(f"{self.file}:{self.line}: {about}{text}")

    def text(self) -> str:
        """Return the text that this is."""
        if not isinstance(self.value, str) or not self.value:
            raise self.error("must be a text")
        return self.value

    def parsed(self, parse: Callable[[str], T]) -> T:
        """Return what ``parse`` makes of the text; its ``ValueError`` is the rule that it broke."""
        text = self.text()
        try:
            return parse(text)
        except ValueError as error:
            raise self.error(f"{text}: {error}") from None

    def each(self) -> Sequence[Item]:
        """Return the items of a list; one that is no list stands for a list of it."""
        if isinstance(self.value, list):
            if not self.value:
                raise self.error("is empty")
            return self.value
        return [self]

    def mapping(self, *known: str) -> dict[str, Item]:
        """Return the mapping that this is, which has no keys but those that are known."""
        if not isinstance(self.value, dict):
            raise self.error(f"must have {', '.join(known)}")
        for key, item in self.value.items():
            if key not in known:
                raise item.error(f"unknown key {key!r}, known are {', '.join(known)}")
        return self.value

    def named(self, about: str) -> Item:
        """Return the same for errors that say ``about``, down to its leaves."""
        value = self.value
        if isinstance(value, list):
            value = [item.named(about) for item in value]
        elif isinstance(value, dict):
            value = {key: item.named(about) for key, item in value.items()}
        return Item(value, self.file, self.line, about)


def load(path: Path) -> Item:
    """Return what a file holds.

    Raises:
        UsageError: it cannot be read, or is not YAML; the line is named.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(text) > _MOST_BYTES:
        raise UsageError(f"{path}: more than {_MOST_BYTES} bytes")
    try:
        _refuse_aliases(path, yaml.parse(text, Loader=yaml.SafeLoader))
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None
    if node is None:
        raise UsageError(f"{path}: is empty")
    return _item(node, path.name, 0)


def _refuse_aliases(path: Path, events: Iterator[yaml.Event]) -> None:
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise UsageError(f"{path.name}:{line}: aliases are not supported")


def _item(node: yaml.Node, file: str, depth: int) -> Item:
    line = node.start_mark.line + 1
    if depth > _MOST_DEPTH:
        raise UsageError(f"{file}:{line}: too deep")
    if isinstance(node, yaml.SequenceNode):
        return Item([_item(each, file, depth + 1) for each in node.value], file, line)
    if not isinstance(node, yaml.MappingNode):
        return Item(node.value, file, line)
    found: dict[str, Item] = {}
    for key, value in node.value:
        at = Item(key.value, file, key.start_mark.line + 1)
        if at.text() in found:
            raise at.error(f"{at.text()!r} is there twice")
        found[at.text()] = _item(value, file, depth + 1)
    return Item(found, file, line)
