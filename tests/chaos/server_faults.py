"""Faults of what the service stands on: Redis, Postgres, disks, messages.

Each waits for a moment in which it hits something, strikes, and waits until its traces are gone.
"""

import os
import signal
import time

from tests.chaos.disks import Disk
from tests.chaos.lookout import Lookout
from tests.chaos.recovery import Recovery


def redis_killed(lookout: Lookout) -> Recovery:
    """With messages in it, which are lost."""
    lost, at = _awaited_messages(lookout), time.monotonic()
    os.kill(_redis(lookout), signal.SIGKILL)
    return _offered_again(lookout, lost, at)


def redis_flushed(lookout: Lookout) -> Recovery:
    """With messages in it, which are lost."""
    lost, at = _awaited_messages(lookout), time.monotonic()
    lookout.scene.broker.flushall()
    return _offered_again(lookout, lost, at)


def redis_frozen(lookout: Lookout) -> Recovery:
    """With messages in it. Recovered, counted from the thaw, when a job created meanwhile is taken up."""
    _awaited_messages(lookout)
    pid = _redis(lookout)
    os.kill(pid, signal.SIGSTOP)
    try:
        created = lookout.load.submit()
        time.sleep(lookout.plan.freeze_seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    at = time.monotonic()
    return Recovery(lookout.until(lambda: lookout.served(created.id), "a job taken up after the thaw") - at)


def postgres_restarted(lookout: Lookout) -> Recovery:
    """Politely or, every other time, without a shutdown. Recovered when a job in training hears its heart again."""
    found = lookout.training()
    number = lookout.chance.choice([signal.SIGINT, signal.SIGQUIT])
    before, at = lookout.lapses(found), time.monotonic()
    os.kill(lookout.scene.stack.pids("postgres")[0], number)
    return Recovery(lookout.until(lambda: lookout.lapses(found) != before, "a heartbeat after the restart") - at)


def work_disk_full(lookout: Lookout) -> Recovery:
    """While a trainer writes its checkpoint."""
    assert lookout.scene.work is not None
    return _filled(lookout, lookout.scene.work)


def storage_full(lookout: Lookout) -> Recovery:
    """While a worker publishes a checkpoint."""
    assert lookout.scene.storage is not None
    return _filled(lookout, lookout.scene.storage)


def _filled(lookout: Lookout, disk: Disk) -> Recovery:
    """Full until a job in training was hit; recovered when it waits for another try."""
    found, at = lookout.training(), time.monotonic()
    with disk.full():
        return Recovery(lookout.until(lambda: lookout.let_go(found), "a job hit by a full disk") - at)


def messages_tampered(lookout: Lookout) -> Recovery:
    """Every message is doubled, every second one dropped. Recovered when a job created at the end is taken up."""
    wire = lookout.scene.wire
    enough = wire.seen + lookout.plan.tampered
    wire.tampering = True
    try:
        lookout.until(lambda: wire.seen >= enough, "messages to double and drop")
    finally:
        wire.tampering = False
    created, at = lookout.load.submit(), time.monotonic()
    return Recovery(lookout.until(lambda: lookout.served(created.id), "a job taken up afterwards") - at)


def _redis(lookout: Lookout) -> int:
    return lookout.scene.redis.pids()[0]


def _awaited_messages(lookout: Lookout) -> list[str]:
    """Wait until a message waits in Redis; the task ids of all that do."""
    lookout.until(lambda: lookout.messages() and lookout.woken(), "a message in Redis")
    return lookout.woken()


def _offered_again(lookout: Lookout, lost: list[str], at: float) -> Recovery:
    offered = lookout.until(lambda: not set(lost) & set(lookout.woken()), "lost messages sent again")
    return Recovery(offered - at)
