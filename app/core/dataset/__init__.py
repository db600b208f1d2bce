"""Training files: read line by line, checked row by row, reported whole. Pure, and quick in bounded memory."""

from app.core.dataset.checker import check
from app.core.dataset.findings import LISTED, Finding, RowWarning
from app.core.dataset.report import TRAINING, VALIDATION, Part, Report

__all__ = ["LISTED", "TRAINING", "VALIDATION", "Finding", "Part", "Report", "RowWarning", "check"]
