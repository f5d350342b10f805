from __future__ import annotations

import socket

import pytest

from network_pipeline.capture import devices
from network_pipeline.errors import CaptureError
from network_pipeline.frames import LinkType
from tests import netns

RADIOTAP = 803


def test_hardware_types_are_those_of_this_namespace() -> None:
    with netns.veth_pair() as (left, _), netns.tun(left), left.entered():
        assert devices.hardware_types() == {"lo": 772, "veth0": 1, "tun0": 0xFFFE}


def test_link_types() -> None:
    with netns.veth_pair() as (left, _), netns.tun(left), left.entered():
        assert devices.link_type("lo") is LinkType.ETHERNET
        assert devices.link_type("veth0") is LinkType.ETHERNET
        assert devices.link_type("tun0") is LinkType.RAW


def test_unknown_device_names_those_there_are() -> None:
    with netns.veth_pair() as (left, _), left.entered(), pytest.raises(CaptureError) as caught:
        devices.link_type("eth7")
    assert str(caught.value) == "no network device 'eth7'; there are lo, veth0, any"


def test_device_of_another_link_type_is_refused_by_name() -> None:
    with netns.namespace() as where, netns.tun(where, "mon0", hardware_type=RADIOTAP):
        with where.entered():
            found = devices.undecodable()
        with where.entered(), pytest.raises(CaptureError, match=r"^frames of mon0 .* type 803"):
            devices.link_type("mon0")
    assert found == ["mon0"]


def test_name_and_state_of_a_device() -> None:
    with netns.veth_pair() as (left, _), left.packet_socket("veth0") as sock:
        with left.entered():
            index = next(i for i, name in socket.if_nameindex() if name == "veth0")
        assert devices.name_of(sock, index) == "veth0"
        assert devices.is_up(sock, "veth0")
        left.ip("link", "set", "veth0", "down")
        assert not devices.is_up(sock, "veth0")
        left.ip("link", "delete", "veth0")
        assert devices.name_of(sock, index) is None
        assert not devices.is_up(sock, "veth0")
