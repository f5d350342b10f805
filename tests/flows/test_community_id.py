"""Community ids: the vectors that are published with the specification's reference."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from network_pipeline.flows.fields import ICMP_ONE_WAY, ICMP_PAIR, NO_PORTS, PORTS
from network_pipeline.flows.texts import COMMUNITY_BYTES, CommunityIds

# Source: tests of https://github.com/corelight/pycommunityid, seeds 0 and 1, and its README.
_VECTORS = [
    (6, PORTS, "128.232.110.120", "66.35.250.204", 34855, 80,
     "LQU9qZlK+B5F3KDmev6m5PMibrg=", "3V71V58M3Ksw/yuFALMcW0LAHvc="),
    (6, PORTS, "66.35.250.204", "128.232.110.120", 80, 34855,
     "LQU9qZlK+B5F3KDmev6m5PMibrg=", "3V71V58M3Ksw/yuFALMcW0LAHvc="),
    (6, PORTS, "10.0.0.1", "10.0.0.2", 10, 11569,
     "SXBGMX1lBOwhhoDrZynfROxnhnM=", "HmBRGR+fUyXF4t8WEtal7Y0gEAo="),
    (6, PORTS, "1.2.3.4", "5.6.7.8", 1122, 3344, "wCb3OG7yAFWelaUydu0D+125CLM=", None),
    (17, PORTS, "192.168.1.52", "8.8.8.8", 54585, 53,
     "d/FP5EW3wiY1vCndhwleRRKHowQ=", "Q9We8WO3piVF8yEQBNJF4uiSVrI="),
    (17, PORTS, "8.8.8.8", "192.168.1.52", 53, 54585,
     "d/FP5EW3wiY1vCndhwleRRKHowQ=", "Q9We8WO3piVF8yEQBNJF4uiSVrI="),
    (132, PORTS, "192.168.170.8", "192.168.170.56", 7, 7, "MP2EtRCAUIZvTw6MxJHLV7N7JDs=", None),
    (132, PORTS, "1.2.3.4", "5.6.7.8", 1122, 3344, "EKt4MsxuyaE6mL+hmrEkQ9csDD8=", None),
    (1, ICMP_PAIR, "192.168.0.89", "192.168.0.1", 8, 0,
     "X0snYXpgwiv9TZtqg64sgzUn6Dk=", "03g6IloqVBdcZlPyX8r0hgoE7kA="),
    (1, ICMP_PAIR, "192.168.0.1", "192.168.0.89", 0, 8,
     "X0snYXpgwiv9TZtqg64sgzUn6Dk=", "03g6IloqVBdcZlPyX8r0hgoE7kA="),
    (1, ICMP_ONE_WAY, "192.168.0.89", "192.168.0.1", 20, 0,
     "3o2RFccXzUgjl7zDpqmY7yJi8rI=", "lCXHHxavE1Vq3oX9NH5ladQg02o="),
    (1, ICMP_ONE_WAY, "192.168.0.89", "192.168.0.1", 20, 1,
     "tz/fHIDUHs19NkixVVoOZywde+I=", "Ie3wmFyxiEyikbsbcO03d2nh+PM="),
    (58, ICMP_PAIR, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 136,
     "dGHyGvjMfljg6Bppwm3bg0LO8TY=", "kHa1FhMYIT6Ym2Vm2AOtoOARDzY="),
    (58, ICMP_ONE_WAY, "3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 3, 0,
     "/OGBt9BN1ofenrmSPWYicpij2Vc=", "Ij4ZxnC87/MXzhOjvH2vHu7LRmE="),
    (58, ICMP_ONE_WAY, "3ffe:501:0:1802:260:97ff:feb6:7ff0", "3ffe:507:0:1:200:86ff:fe05:80da",
     3, 0, "bnQKq8A2r//dWnkRW2EYcMhShjc=", None),
    (46, NO_PORTS, "1.2.3.4", "5.6.7.8", 0, 0, "ikv3kmf89luf73WPz1jOs49S768=", None),
]  # fmt: skip

_Vector = tuple[int, int, str, str, int, int, str, str | None]


def _ids(seed: int, vectors: list[_Vector]) -> list[str]:
    words = np.zeros((4, len(vectors)), np.uint64)
    ends = np.zeros((5, len(vectors)), np.int64)
    for flow, (protocol, kind, src, dst, sport, dport, *_) in enumerate(vectors):
        addresses = [ipaddress.ip_address(text) for text in (src, dst)]
        for place, address in enumerate(addresses):
            words[2 * place : 2 * place + 2, flow] = divmod(int(address), 2**64)
        ends[:, flow] = (addresses[0].version, protocol, kind, sport, dport)
    out = np.zeros((len(vectors), COMMUNITY_BYTES), np.uint8)
    CommunityIds(seed).write(len(vectors), words.data, ends.data, out.data)
    return [row.tobytes().decode() for row in out]


@pytest.mark.parametrize("seed", [0, 1])
def test_published_vectors(seed: int) -> None:
    expected = [vector[6 + seed] for vector in _VECTORS]
    for found, vector in zip(_ids(seed, _VECTORS), expected, strict=True):
        assert vector is None or found == f"1:{vector}"
