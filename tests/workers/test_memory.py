"""A trainer killed by the kernel for memory is told apart from one killed by anybody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.backends import memory
from workers.backends.child import Child

CGROUPS = Path("/sys/fs/cgroup")


def test_the_kernel_is_asked_to_take_trainers_first():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        memory.prefer(process.pid)
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == str(memory.FIRST_TO_GO)
    finally:
        process.communicate(b"\n")


def test_a_kill_by_somebody_is_no_kill_for_memory():
    child = Child(["--standby"], threads=1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not child.killed_for_memory()
    child.kill()


@pytest.mark.skipif(not os.access(CGROUPS / "cgroup.procs", os.W_OK), reason="needs a cgroup of its own")
def test_a_kill_by_the_kernel_is_counted_as_one_for_memory():
    group = CGROUPS / f"tuneyard-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.max").write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"no memory limit can be set here: {error}")
    before = memory.kills()
    program = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); b'x' * (1 << 30)"
    try:
        ended = subprocess.run([sys.executable, "-c", program, str(group / "cgroup.procs")], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert memory.kills() > before
    finally:
        group.rmdir()
