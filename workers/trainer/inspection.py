"""--inspect: rows and tokens counted with the real tokenizer, findings with line numbers, and no torch."""

import sys
from collections import Counter
from collections.abc import Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workers.trainer.report import Emit

_LISTED = 100


def hide_torch() -> None:
    """Let transformers believe that torch is not installed: tokenizers need none of it, and it takes seconds."""
    sys.modules["torch"] = None  # type: ignore[assignment]


def inspect(directory: Path, emit: Emit) -> None:
    """One line per data file. Raises Failure when the spec, the tokenizer or its chat template is unusable."""
    from workers.trainer import rows, spec, templates

    job = spec.load(directory)
    template = templates.load(job.base, job.own_template, now=job.created_at)
    shares = {"train.jsonl": job.hyperparameters.eval_carveout, "valid.jsonl": 0.0}
    for name, share in shares.items():
        if (directory / name).exists():
            held = rows.held_out(directory / name, share, seed=job.seed)
            encoded = rows.encode_file(directory / name, template, method=job.method, max_length=job.max_length)
            emit({"type": "inspected", "file": name, **_counted(encoded, held)})


def _counted(encoded: Any, held: Set[int]) -> dict[str, Any]:
    """Counts after cutting, those of the held-out lines also apart; `longest` is before."""
    counts, apart = (Counter(rows=0, tokens=0, trained_tokens=0) for _ in range(2))
    longest = 0
    cut: dict[str, Any] = {"count": 0, "lines": []}
    findings: list[dict[str, Any]] = []
    finding_count = 0
    line = cut_line = 0
    for row in encoded:  # a document each; those of a row follow one another
        numbers = {"rows": row.line != line, "tokens": len(row.ids), "trained_tokens": sum(row.trained[1:])}
        counts.update(numbers)
        if row.line in held:
            apart.update(numbers)
        line = row.line
        longest = max(longest, row.length)
        if row.cut and cut_line != row.line:
            cut_line = row.line
            cut["count"] += 1
            cut["lines"] += [row.line] if len(cut["lines"]) < _LISTED else []
        finding_count += len(row.findings)
        room = _LISTED - len(findings)
        findings += [{"line": row.line, **asdict(finding)} for finding in row.findings[:room]]
    counted = {**counts, "longest": longest, "cut": cut, "findings": findings, "finding_count": finding_count}
    return counted | ({"held_out": dict(apart)} if held else {})
