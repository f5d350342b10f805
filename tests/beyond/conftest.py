"""A cluster of dask with two workers, and a server of S3; both run here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests import needs

BUCKET = "captures"
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    """What everything here needs."""
    if missing := [name for name in ("distributed", "s3fs", "moto") if not find_spec(name)]:
        needs.lacking(f"{', '.join(missing)}: pip install -e '.[dask,s3]' 'moto[server]'")


@pytest.fixture(scope="session")
def s3(packages: None) -> Iterator[str]:
    """The address of the server, which this process and what it starts use as S3."""
    import s3fs  # noqa: PLC0415  slow to import
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_CREDENTIALS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield address
    server.stop()


@pytest.fixture(scope="session")
def cluster(s3: str) -> Iterator[str]:
    """The address of the scheduler."""
    from distributed import LocalCluster  # noqa: PLC0415

    assert os.environ["AWS_ENDPOINT_URL"] == s3
    with LocalCluster(  # type: ignore[no-untyped-call, unused-ignore]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as local:
        yield str(local.scheduler_address)
