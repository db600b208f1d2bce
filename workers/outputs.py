"""Files that the service makes for a job: reports, metrics, answers, manifests."""

from app.blobs import storage
from app.core import names
from app.core.job import File, Job


def stored_file(job: Job, filename: str, path: str, content: bytes) -> File:
    """Store a file for a job's project; it becomes visible when the turn that made it ends."""
    written = storage().put(path, content)
    return File(
        id=names.file_id(),
        project_id=job.project_id,
        filename=filename,
        purpose="fine-tune-results",
        bytes=written.size,
        sha256=written.sha256,
        path=path,
        created_at=job.created_at,
    )
