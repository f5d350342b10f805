"""The report and the card: whole in themselves, and nobody's words become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from network_pipeline.labelled import making, prepare, splits
from tests.labelled import traffic

NASTY = "<script>alert(1)</script> $x$ & |`"
RULES = f"""\
rules:
  - name: '{NASTY}'
    label: attack
    class: '{NASTY}'
    match: {{file: scan-*.pcap}}
otherwise: {{label: benign}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    packets = traffic.dataset(directory)
    plan = prepare.Plan(splits.Plan("session", (0.7, 0.15, 0.15), 0))
    inputs = making.Inputs([str(packets)], "network-pipeline", traffic.rules(directory, RULES))
    making.make(str(directory / "a <b>"), inputs, plan)
    return directory / "a <b>"


class Elements(HTMLParser):
    """What a page is made of: elements that are open at its end, attributes that lead elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.heads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        if tag == "h2":
            self.heads.append("")
        self.links |= {
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href")
        }

    def handle_data(self, data: str) -> None:
        if self.heads and not self.heads[-1]:
            self.heads[-1] = data.strip()


def test_the_page_needs_nothing_and_runs_nothing(made: Path) -> None:
    page = (made / "report.html").read_text()
    elements = Elements()
    elements.feed(page)
    assert not {"script", "link", "img", "iframe", "object", "image"} & elements.names
    assert all(link.startswith("#") for link in elements.links)
    assert "default-src 'none'" in page
    assert not re.search(r"url\((?!#)", page)
    assert len(page) < 600_000


def test_what_it_shows(made: Path) -> None:
    elements = Elements()
    page = (made / "report.html").read_text()
    elements.feed(page)
    assert elements.heads == [
        "Classes", "Audit", "Traffic over time", "Protocols", "Top talkers",
        "Features that tell most", "Where it comes from", "Labels", "Split", "Columns",
    ]  # fmt: skip
    assert "280 labelled packets, 2023-11-14 22:14:21 to 2023-11-14 22:18:00 UTC" in page
    assert page.count("<svg") == 3 + 8
    assert f'<td class="id">{traffic.ATTACKER}</td>' in page


def test_nobodys_words_are_markup(made: Path) -> None:
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    for name in ("report.html", "README.md"):
        text = (made / name).read_text()
        assert "<script" not in text
        assert escaped in text
    assert "<title>a &lt;b&gt;: labelled packets</title>" in (made / "report.html").read_text()


def test_the_card(made: Path) -> None:
    lines = (made / "README.md").read_text().splitlines()
    assert lines[0] == "---"
    assert "| benign | benign | 160 | 120 | 0 | 40 |" in lines or any(
        line.startswith("| benign | benign | 160 |") for line in lines
    )
    assert "    data_files: training.parquet" in lines
