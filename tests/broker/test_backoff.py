"""Delays between tries."""

from __future__ import annotations

from network_pipeline.broker.backoff import BackOff


def test_delays_double_up_to_a_limit_and_begin_again() -> None:
    back_off = BackOff()
    most = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    for limit in most:
        assert limit / 2 <= back_off.next() <= limit
    back_off.reset()
    assert back_off.next() <= 0.1


def test_two_agents_do_not_come_back_in_step() -> None:
    assert len({BackOff().next() for _ in range(20)}) > 1
