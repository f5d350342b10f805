from __future__ import annotations

import pytest

from network_pipeline.metrics import Histogram, Pulse


def test_a_histogram_counts_values_by_their_bounds() -> None:
    histogram = Histogram(0.5, 1)
    assert histogram.snapshot() == ((0.5, 1), (0, 0, 0), 0)
    for value in (0.5, 0.75, 1, 7):
        histogram.observe(value)
    histogram.observe(0.25, 4)
    assert histogram.snapshot() == ((0.5, 1), (5, 2, 1), 10.25)


def test_a_pulse_says_how_long_ago_it_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    monkeypatch.setattr("network_pipeline.metrics.time.monotonic", lambda: now[0])
    pulse = Pulse()
    now[0] = 8.0
    assert pulse.age() == 3.0
    pulse.beat()
    assert pulse.age() == 0.0
