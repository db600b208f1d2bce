"""The campaign: undisturbed runs first, then faults upon faults under load, then everything that can be known."""

import time
from contextlib import closing, suppress
from urllib.error import URLError

from app.embedded.processes import StackError
from tests.bench.tables import Say
from tests.chaos import evidence
from tests.chaos.evidence import Evidence, Struck, Timepiece, clocks_apart
from tests.chaos.faults import FAULTS, possible
from tests.chaos.load import Load
from tests.chaos.lookout import Lookout, Stuck
from tests.chaos.plan import Plan
from tests.chaos.scene import Scene, scene
from tests.chaos.tables import Tables
from tests.chaos.window import Window
from tests.chaos.witness import Witness
from tests.services import scratch_directory


def run(plan: Plan, say: Say) -> Evidence:
    """Inflict the plan's faults on a stack of its own, saying each as it comes.

    Raises StackError when the stack does not start.
    """
    early = clocks_apart()
    with (
        scratch_directory() as folder,
        scene(folder, plan) as here,
        closing(Tables(here.stack.environment["DATABASE_URL"])) as tables,
    ):
        witness, load = Witness(here.witness), Load(here, plan)
        undisturbed = load.undisturbed()
        say(f"undisturbed runs done: {', '.join(undisturbed)}")
        with Window(here) as window, load:
            struck = _inflict(Lookout(here, load, plan, witness, tables), say)
            say("the faults are over; what is unfinished goes on to its end")
        return _gather(here, tables, load, window, witness, undisturbed, struck, early)


def _inflict(lookout: Lookout, say: Say) -> list[Struck]:
    """The first round of faults, and more until the time is over."""
    plan, allowed = lookout.plan, possible(lookout.scene)
    deadline = time.monotonic() + plan.seconds
    struck: list[Struck] = []
    for round_number, name in plan.schedule():
        if round_number > 1 and time.monotonic() > deadline:
            return struck
        if name in allowed:
            struck.append(_strike(lookout, name))
            say(f"{len(struck):3d} {_told(struck[-1])}")
    raise AssertionError("a schedule has no end")


def _strike(lookout: Lookout, name: str) -> Struck:
    fault = FAULTS[name]
    limit, began = fault.limit(lookout.plan), time.monotonic()
    try:
        return Struck(name, fault.inflict(lookout), limit, began=began)
    except Stuck as stuck:
        return Struck(name, None, limit, str(stuck), began)


def _told(struck: Struck) -> str:
    return f"{struck.fault}: {f'{struck.recovery.seconds:.1f} s' if struck.recovery else struck.failure}"


def _gather(
    here: Scene,
    tables: Tables,
    load: Load,
    window: Window,
    witness: Witness,
    undisturbed: dict[str, str],
    struck: list[Struck],
    early: float,
) -> Evidence:
    witness.look()
    return Evidence(
        orders=load.orders,
        jobs=evidence.jobs(tables),
        events=evidence.events(tables),
        models=evidence.models(tables),
        sights=witness.sights,
        weights=_weights(load),
        undisturbed=undisturbed,
        clock=Timepiece(early, clocks_apart()),
        struck=struck,
        not_possible=sorted(set(FAULTS) - possible(here)),
        dispatch_ahead=int(here.stack.environment["DISPATCH_AHEAD"]),
        most_woken=window.most_woken,
        longest_queue=window.longest,
        sent_twice=frozenset(window.twice),
        messages_tampered=here.wire.seen,
        requests_repeated=load.repeated,
    )


def _weights(load: Load) -> dict[str, str]:
    """SHA-256 of the weights of every job that has any."""
    found = {}
    for order in load.orders:
        if order.ended == "succeeded":
            with suppress(URLError, StackError):  # the verdict names a model that is missing
                found[order.id] = load.weights(order)
    return found
