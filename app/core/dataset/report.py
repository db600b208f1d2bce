"""The report on one file: totals, findings, warnings, and the error that the job shows because of them."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Self

from app.core.dataset.findings import LISTED, Finding, RowWarning


@dataclass(frozen=True, slots=True)
class Part:
    """What a file is to its job."""

    noun: str
    param: str  # the job's field that names the file
    minimum_rows: int


TRAINING = Part("training file", "training_file", 10)
VALIDATION = Part("validation file", "validation_file", 1)


@dataclass(frozen=True, slots=True)
class Report:
    """All that checking a file brought to light."""

    part: Part
    format: str | None  # "chat", "completion" or "preference", as the first row that is one
    rows: int  # lines that are not blank
    size_bytes: int
    findings: tuple[Finding, ...]  # the first LISTED
    finding_count: int
    warnings: tuple[RowWarning, ...]
    held_out: int = 0  # rows of a training file that are not trained on
    digests: Set[bytes] = field(default_factory=frozenset, repr=False, compare=False)

    def joined(self, findings: Sequence[Finding], finding_count: int, warnings: Sequence[RowWarning] = ()) -> Self:
        """Return this report with what a later look at the same file found: template, tokenizer, lengths."""
        return replace(
            self,
            findings=(*self.findings, *findings)[:LISTED],
            finding_count=self.finding_count + finding_count,
            warnings=(*self.warnings, *warnings),
        )

    def error(self) -> dict[str, str] | None:
        """Return the job's error {code, message, param}, or None when the file can be trained on."""
        if self.finding_count:
            code, message = f"invalid_{self.part.param}", self._invalid()
        elif self._is_short():
            code, message = "invalid_n_examples", self._too_few()
        else:
            return None
        return {"code": code, "message": message, "param": self.part.param}

    def as_dict(self) -> dict[str, Any]:
        """Return the whole report for a JSON file."""
        return {
            "file": self.part.param,
            "format": self.format,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "error": self.error(),
            "finding_count": self.finding_count,
            "findings": [finding.as_dict() for finding in self.findings],
            "warnings": [warning.as_dict() for warning in self.warnings],
        }

    def _invalid(self) -> str:
        message = f"The job failed due to an invalid {self.part.noun}."
        if self.findings:
            message += f" {self.findings[0].sentence()}"
        if self.finding_count > 1:
            others = self.finding_count - 1
            message += f" {others} more {'finding is' if others == 1 else 'findings are'} in the report."
        if self._is_short():
            message += f" {self._too_few()}."
        return message

    def _is_short(self) -> bool:
        return self.rows - self.held_out < self.part.minimum_rows

    def _too_few(self) -> str:
        minimum = self.part.minimum_rows
        examples = "example" if minimum == 1 else "examples"
        held_out = f", {self.held_out} of them held out by eval_carveout," if self.held_out else ""
        wanted = f"must have at least {minimum} {examples}" + (" to train on" if self.held_out else "")
        return f"{self.part.noun.capitalize()} has {self.rows} example(s){held_out or ','} but {wanted}"
