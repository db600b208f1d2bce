"""What a queued job's owner is told about its wait."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.core.job import Job, Place


def waiting(job: Job, place: Place) -> dict[str, Any]:
    """The members of `waiting`: queue, position, reason, and the estimated start once a job has been timed."""
    now = datetime.now(UTC)
    return {
        "queue": job.queue,
        "position": place.position,
        "reason": _reason(job, place, now),
        "estimated_start": _start(job, place, now),
    }


def _reason(job: Job, place: Place, now: datetime) -> str:
    if job.not_before > now:
        return "its worker was lost; it goes on by itself soon"
    if place.max_running and place.running >= place.max_running:
        return f"its organization trains {place.running} jobs, and may train {place.max_running} at once"
    if place.position > 1:
        return f"{place.position - 1} jobs are ahead of it"
    return "it is next: waiting for a free trainer"


def _start(job: Job, place: Place, now: datetime) -> datetime | None:
    """With every busy trainer half way through a job of average length."""
    if place.slots == 0 and place.position == 1:
        return max(now, job.not_before)
    if place.job_seconds is None:
        return None
    rounds = (place.position - 0.5) / max(1, place.slots)
    return max(now + timedelta(seconds=rounds * place.job_seconds), job.not_before)
