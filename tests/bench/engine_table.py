"""The table of the step engine: speed and losses beside TRL's, and how long a run takes to begin."""

from typing import Any

from tests.bench import engine
from tests.bench.tables import Row, Say, Tables, at_least, at_most


def tables(say: Say) -> Tables:
    """Measure, and put the figures beside their goals."""
    return {"Step engine, full or LoRA fine-tune": engine_rows(engine.run("full"))}


def engine_rows(measured: dict[str, Any]) -> list[Row]:
    """Speed and losses beside TRL's, and how long a run takes to begin."""
    rows = []
    for name, figures in measured["engines"].items():
        ours, theirs = figures["tuneyard_tokens_per_cpu_second"], figures["trl_tokens_per_cpu_second"]
        rows.append(Row(f"{name}: Tuneyard", f"{ours:,.0f} tokens per CPU second"))
        rows.append(Row(f"{name}: TRL", f"{theirs:,.0f} tokens per CPU second"))
        what, ratio = f"{name}: Tuneyard / TRL", figures["ratio"]
        rows.append(
            at_least(what, ratio, engine.ENGINE_GOAL, unit="times")
            if name.startswith("full")
            else Row(what, f"{ratio:.2f} times")
        )
        rows.append(_losses(name, figures))
    start = measured["start_up"]
    rows.append(Row("job directory to first step: cold start", f"{start['cold_seconds']:.2f} s"))
    rows.append(
        Row("job directory to first step: standby, to the preflight", f"{start['standby_prepared_seconds']:.2f} s")
    )
    rows.append(Row("job directory to first step: the preflight", f"{start['preflight_seconds']:.2f} s"))
    goal = start["goal_standby_seconds"]
    rows.append(at_most("job directory to first step: standby, to its end", start["standby_seconds"], goal, unit="s"))
    return rows


def _losses(name: str, figures: dict[str, Any]) -> Row:
    """How far the losses are apart, in nats per token; where fp32 is asked to agree, it must."""
    what = f"{name}: largest difference of the first {figures['losses']} losses"
    difference = figures["largest_loss_difference"]
    figure = f"{difference:.1e} nats per token"
    if "float32" not in name:
        return Row(what, figure)
    return Row(what, figure, f"at most {engine.LOSS_TOLERANCE:.0e}", difference <= engine.LOSS_TOLERANCE, binding=True)
