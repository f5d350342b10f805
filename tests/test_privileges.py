"""Root is given up in a child process each: there is no way back."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from network_pipeline.errors import UsageError
from network_pipeline.privileges import NOBODY, drop_root, make_directory, successor
from tests import needs

#: Drops root beside a thread that runs already, and reports what every thread may do then.
CHILD = """
import json, os, sys, threading
from pathlib import Path
from network_pipeline.privileges import drop_root

ends = threading.Event()
threading.Thread(target=ends.wait).start()
os.setgroups([0, 4])
done = drop_root(json.loads(sys.argv[1]))
states = []
for status in Path("/proc/self/task").glob("*/status"):
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    states.append({name: fields[name].split() for name in
                   ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapAmb")})
own = Path("/proc/thread-self/status").read_text()
try:
    os.setuid(0)
    back = True
except PermissionError:
    back = False
print(json.dumps([done, states, "NoNewPrivs:\\t1" in own, back]))
ends.set()
"""


@pytest.mark.parametrize(
    ("user", "uid", "gid"),
    [(None, 65534, 65534), ([1234, 1235], 1234, 1235), ([0, 0], 65534, 65534)],
)
def test_root_is_gone_for_all_threads(user: list[int] | None, uid: int, gid: int) -> None:
    if os.geteuid() != 0:
        needs.lacking("root")
    run = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(user)], capture_output=True, text=True, check=True
    )
    done, states, no_new_privileges, came_back = json.loads(run.stdout)
    nothing = ["0000000000000000"]
    assert done == f"gave up root, now user {uid} and group {gid}"
    assert len(states) == 2
    for state in states:
        assert state == {
            "Uid": [str(uid)] * 4,
            "Gid": [str(gid)] * 4,
            "Groups": [],
            "CapEff": nothing,
            "CapPrm": nothing,
            "CapInh": nothing,
            "CapAmb": nothing,
        }
    assert no_new_privileges
    assert not came_back


def test_root_that_may_not_change_its_user_is_refused() -> None:
    if os.geteuid() != 0:
        needs.lacking("root")
    child = """
from network_pipeline.errors import CaptureError
from network_pipeline.privileges import drop_root
try:
    drop_root((1234, 1234))
except CaptureError as error:
    print(error)
"""
    run = subprocess.run(  # a user namespace that has one user, root
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", child],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        needs.lacking("user namespaces")
    assert run.stdout == (
        "cannot give root up for user 1234: Operation not permitted; "
        "run as another user, with CAP_NET_RAW alone\n"
    )


def test_a_directory_is_made_for_its_owner_once(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        needs.lacking("root")
    place = tmp_path / "lib" / "spool"
    make_directory(place, NOBODY)
    made = place.stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (*NOBODY, 0o700)
    make_directory(place, (1234, 1234))
    assert place.stat().st_uid == NOBODY[0]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make"):
        make_directory(tmp_path / "file" / "spool", NOBODY)


def test_another_user_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert drop_root((1234, 1234)) == ""
    assert successor((1234, 1234)) is None


_WITHOUT_CAPABILITIES = """
import socket, threading
from pathlib import Path
from network_pipeline.privileges import drop_capabilities
ends = threading.Event()
thread = threading.Thread(target=ends.wait)
thread.start()
print(drop_capabilities(), "threads keep theirs")
ends.set()
status = Path("/proc/thread-self/status").read_text()
found = [line.split() for line in status.splitlines() if line.startswith(("Cap", "NoNew"))]
print({name: value for name, value in found if name != "CapBnd:"})
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
except PermissionError:
    print("no packet socket")
"""


def test_capabilities_are_given_up() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_CAPABILITIES], capture_output=True, text=True, check=True
    )
    nothing = "0000000000000000"
    assert run.stdout.splitlines() == [
        "1 threads keep theirs" if os.geteuid() == 0 else "0 threads keep theirs",
        str({"CapInh:": nothing, "CapPrm:": nothing, "CapEff:": nothing, "CapAmb:": nothing}
            | {"NoNewPrivs:": "1"}),
        "no packet socket",
    ]  # fmt: skip


_CHILD_OF_THE_KILLED = """
import os, signal, sys, time
from network_pipeline.privileges import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), os._exit(0)))
end_with_parent(signal.SIGTERM)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_process_is_told_that_its_parent_has_ended() -> None:
    parent = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", {_CHILD_OF_THE_KILLED!r}])
sys.stdin.read(1)
os._exit(0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("x")
        process.stdin.flush()
        assert process.stdout.read() == "told\n"
