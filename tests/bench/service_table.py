"""The tables of the service: beside the bare trainer, and what interruptions cost and leave equal."""

from tests.bench import service
from tests.bench.results import Pause, Results
from tests.bench.tables import Row, Say, Tables, at_most

SERVICE_GOAL = 1.10
SERVICE_EXTRA_SECONDS = 3.0


def tables(say: Say) -> Tables:
    """Measure, and put the figures beside their goals."""
    measured = service.run(say)
    return {
        "Service, the demo's job": service_rows(measured),
        "SHA-256 of interrupted runs beside the undisturbed one's": equality_rows(measured),
    }


def service_rows(measured: Results) -> list[Row]:
    """The service beside the bare trainer, and what an interruption costs."""
    rows = [
        Row(f"pair {number}: service / bare trainer", f"{pair.service_seconds:.1f} s / {pair.bare_seconds:.1f} s")
        for number, pair in enumerate(measured.pairs, start=1)
    ]
    served, bare = measured.service_seconds, measured.bare_seconds
    rows.append(Row("median: service / bare trainer", f"{served:.1f} s / {bare:.1f} s"))
    what = f"(service - {SERVICE_EXTRA_SECONDS:.0f} s) / bare trainer"
    rows.append(at_most(what, (served - SERVICE_EXTRA_SECONDS) / bare, SERVICE_GOAL, unit="times"))
    for number, pause in enumerate(measured.pauses, start=1):
        rows += _pause(f"pause {number}", pause)
    rows.append(Row("median: request to process gone", f"{measured.pause_seconds:.2f} s"))
    rows.append(Row("median: resume to next step", f"{measured.resume_seconds:.2f} s"))
    return rows


def _pause(name: str, pause: Pause) -> list[Row]:
    steps = f"at most {pause.pause_steps} steps"
    repeated = f"{pause.repeated_steps} steps repeated"
    return [
        Row(f"{name}: request to process gone", f"{pause.pause_seconds:.2f} s, {steps}"),
        Row(f"{name}: resume to next step", f"{pause.resume_seconds:.2f} s, {repeated}"),
    ]


def equality_rows(measured: Results) -> list[Row]:
    """Weights that must agree byte for byte."""
    same = all(pair.equal for pair in measured.pairs)
    rows = [_equality("adapter of the bare trainer", "as the service's" if same else "not the service's", same)]
    for found in measured.comparisons:
        sign = "=" if found.equal else "is not"
        figure = f"{found.sha256[:16]} {sign} {found.undisturbed_sha256[:16]}"
        rows.append(_equality(f"{found.weights} after {found.interruption}", figure, found.equal))
    return rows


def _equality(what: str, figure: str, equal: bool) -> Row:
    return Row(what, figure, "equal", equal, binding=True)
