"""The objects that the official clients' tests name, put back through the store; the product knows none of them."""

import json
from datetime import UTC, datetime

from app.blobs import storage
from app.core.job import Checkpoint, File, Job, Key, Model, NewEvent
from app.core.resources import Shard
from app.core.states import Outcome
from app.store import aliases, checkpoints, datasets, events, files, jobs, keys, leases, models, own_weights, uploads
from app.store.db import Connection, Row, transaction

KEY = "My API Key"
BASE = "tiny"
ALIASES = ("gpt-4o-mini", "gpt-6-astra", "baseModel")
FILES = {"file-abc123": "fine-tune", "file-evaluation": "fine-tune", "file_id": "fine-tune-results"}
JOB = "ft-AF1WoRqd3aJAHsqc9NY7iL8F"
DONE_JOB = "ftjob-done"
TUNED_MODEL = "ft:gpt-4o-mini:acemeco:suffix:abc123"
CHECKPOINT = "ft:gpt-4o-mini-2024-07-18:org:weather:B7R9VjQd"
PERMISSION = "cp_zc4Q7MP6XxulcVzj4MZdwsAB"
PROJECT = "string"
ACCOUNT = "account_id"
DATASET = "dataset_id"
DATASETS = {"dataset": "file-abc123", "evaluationDataset": "file-evaluation"}
MODEL = "model_id"
START = "warmStartFrom"
SUPERVISED_JOB = "supervised_fine_tuning_job_id"
DPO_JOB = "dpo_job_id"
SHARDS = "upload_shards"
WEIGHTS = "upload_weights"
UPLOAD = "upload_abc123"
PART = "string"
CONTENT = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 10
METRICS = {"step": 8, "total_steps": 16, "train_loss": 1.5, "valid_loss": 1.75}
ADAPTER = {"training_type": "lora", "lora_rank": 4, "lora_alpha": 8.0, "lora_targets": ["all-linear"]}
ADAPTER_CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
CHOSEN = {"epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0, **ADAPTER}


def put_back() -> None:
    """Make the objects as they were before the first request, and forget everything else but keys."""
    with transaction() as conn:
        conn.execute("truncate files, jobs, permissions, uploads, aliases cascade")
        key = keys.with_secret(conn, KEY) or _make_key(conn)
        for file_id, purpose in FILES.items():
            files.insert(conn, _file(key, file_id, purpose))
        _make_paused_job(conn, key)
        _make_tuned_model(conn, key, TUNED_MODEL, job_id=DONE_JOB, chosen="tuned")
        _make_tuned_model(conn, key, "ft:tiny:default::warm", job_id="ftjob-warm", chosen=START)
        _make_permission(conn, key)
        _make_upload(conn, key, UPLOAD, PART)
        _make_dataset(conn, key)
        _make_own_model(conn, key)
        for name, file_id in DATASETS.items():
            aliases.reserve(conn, key.project_id, "dataset", name, target=file_id)
        _make_preference_job(conn, key)


def store_contents() -> None:
    """Put the bytes of the files into storage, where no request changes them."""
    for file_id in FILES:
        storage().put(f"files/{file_id}", CONTENT)
    for upload in (UPLOAD, SHARDS):
        storage().put(f"uploads/{upload}/{PART}", CONTENT)
    storage().put(f"jobs/{DONE_JOB}/model/adapter_config.json", b"{}")
    for name, content in adapter().items():
        storage().put(f"uploads/{WEIGHTS}/{name}", content)


def adapter() -> dict[str, bytes]:
    """The files of an adapter, by their names, on one module that is two wide."""
    header = {
        f"base_model.model.q_proj.lora_{half}.weight": {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [32 * place, 32 * (place + 1)],
        }
        for place, (half, shape) in enumerate((("A", [4, 2]), ("B", [2, 4])))
    }
    text = json.dumps(header).encode()
    return {
        "adapter_config.json": json.dumps(ADAPTER_CONFIG).encode(),
        "adapter_model.safetensors": len(text).to_bytes(8, "little") + text + bytes(64),
    }


def _make_key(conn: Connection[Row]) -> Key:
    """The suite's strict client has a closed list of states, as the switch on a key says."""
    scopes = keys.OWNER_SCOPES
    return keys.create(conn, KEY, project_id=ACCOUNT, org_id="default", name="suite", scopes=scopes, strict=True)


def _file(key: Key, file_id: str, purpose: str) -> File:
    return File(
        id=file_id,
        project_id=key.project_id,
        filename="rows.jsonl",
        purpose=purpose,
        bytes=len(CONTENT),
        sha256="0" * 64,
        path=f"files/{file_id}",
        created_at=datetime.now(UTC),
    )


def _make_job(conn: Connection[Row], key: Key, job_id: str, *, method: str = "supervised", **made: object) -> Job:
    """A job that trains, with a metrics event; `made` is in its result."""
    new = jobs.insert(
        conn,
        job_id,
        project_id=key.project_id,
        key_id=key.id,
        queue="train",
        spec={
            "model": ALIASES[0],
            "base": BASE,
            "training_file": "file-abc123",
            "validation_file": "file-abc123",
            "suffix": "weather",
            "seed": 42,
            "method": method,
            "hyperparameters": {},
        },
        metadata={"foo": "string"},
        idem_key=None,
        idem_hash=job_id,
    )
    queued = leases.finish(conn, _claimed(conn, new), Outcome.DONE, result={"hyperparameters": CHOSEN, **made})
    running = _claimed(conn, queued)
    told = NewEvent("Step 8/16: training loss=1.50, validation loss=1.75", type="metrics", data=METRICS)
    events.append(conn, running, [told], seq=1)
    return running


def _claimed(conn: Connection[Row], job: Job) -> Job:
    held = leases.claim(conn, job.id, ready=job.status, owner="suite", lease_seconds=3600)
    assert held is not None
    return held


def _make_paused_job(conn: Connection[Row], key: Key) -> None:
    """It can be paused, resumed and cancelled, and its two checkpoints go by the names of the suite's."""
    running = _make_job(conn, key, JOB)
    for step, name in ((4, JOB), (8, CHECKPOINT)):
        checkpoints.record(conn, running, _checkpoint(running, step, name))
    jobs.request_pause(conn, key.project_id, JOB)
    leases.finish(conn, running, Outcome.STOPPED, progress=METRICS)
    aliases.reserve(conn, key.project_id, "job", SUPERVISED_JOB, target=JOB)


def _make_preference_job(conn: Connection[Row], key: Key) -> None:
    """It can be resumed and deleted, and has a table of metrics."""
    running = _make_job(conn, key, f"ftjob-{DPO_JOB}", method="dpo", result_files=["file_id"])
    jobs.request_pause(conn, key.project_id, running.id)
    leases.finish(conn, running, Outcome.STOPPED, progress=METRICS)
    aliases.reserve(conn, key.project_id, "job", DPO_JOB, target=running.id)


def _checkpoint(job: Job, step: int, name: str) -> Checkpoint:
    return Checkpoint(
        id=f"ftckpt_{step}",
        job_id=job.id,
        attempt=job.attempt,
        step=step,
        kind="epoch",
        name=name,
        path=f"jobs/{job.id}/step-{step}",
        best=False,
        metrics=METRICS,
        created_at=job.created_at,
    )


def _make_tuned_model(conn: Connection[Row], key: Key, name: str, *, job_id: str, chosen: str) -> None:
    trained = leases.finish(conn, _make_job(conn, key, job_id), Outcome.DONE)
    made = {"fine_tuned_model": name, "trained_tokens": 5768, "result_files": ["file_id"]}
    done = leases.finish(conn, _claimed(conn, trained), Outcome.DONE, result=made)
    path = f"jobs/{DONE_JOB}/model"
    models.insert(conn, Model(name, done.project_id, done.org_id, done.id, BASE, path, {}, done.created_at))
    aliases.reserve(conn, key.project_id, "model", chosen, target=done.id)


def _make_permission(conn: Connection[Row], key: Key) -> None:
    conn.execute("insert into projects (id, org_id) values (%s, %s) on conflict (id) do nothing", (PROJECT, key.org_id))
    conn.execute(
        "insert into permissions (id, model, project_id) values (%s, %s, %s)", (PERMISSION, CHECKPOINT, PROJECT)
    )


def _make_upload(conn: Connection[Row], key: Key, upload_id: str, part_id: str) -> None:
    """It waits to be completed, with a part of all its bytes."""
    size = len(CONTENT)
    uploads.insert(
        conn,
        upload_id,
        project_id=key.project_id,
        filename="rows.jsonl",
        purpose="fine-tune",
        size=size,
        mime_type="text/jsonl",
        lifetime=None,
        open_seconds=3600,
    )
    assert uploads.admit(conn, upload_id, size)
    uploads.add_part(conn, part_id, upload_id=upload_id, size=size, path=f"uploads/{upload_id}/{PART}")


def _make_dataset(conn: Connection[Row], key: Key) -> None:
    """It waits to be validated, its one shard has come."""
    datasets.insert(
        conn,
        f"file-{DATASET}",
        project_id=key.project_id,
        display_name="",
        format="",
        ignored=(),
        created_by=key.id,
    )
    aliases.reserve(conn, key.project_id, "dataset", DATASET, target=f"file-{DATASET}")
    _make_upload(conn, key, SHARDS, SHARDS)
    datasets.announce(conn, f"file-{DATASET}", upload_id=SHARDS, shards=[Shard("rows.jsonl", len(CONTENT), SHARDS)])


def _make_own_model(conn: Connection[Row], key: Key) -> None:
    """It waits to be validated, its files have come, and others may be announced."""
    own_id, content = f"weights-{MODEL}", adapter()
    own_weights.insert(
        conn,
        own_id,
        project_id=key.project_id,
        display_name="",
        description="",
        base=BASE,
        hyperparameters={},
        ignored=(),
        created_by=key.id,
    )
    aliases.reserve(conn, key.project_id, "model", MODEL, target=own_id)
    uploads.insert(
        conn,
        WEIGHTS,
        project_id=key.project_id,
        filename=MODEL,
        purpose="weights",
        size=sum(map(len, content.values())),
        mime_type="",
        lifetime=None,
        open_seconds=3600,
    )
    for name, part in content.items():
        uploads.add_part(conn, name, upload_id=WEIGHTS, size=len(part), path=f"uploads/{WEIGHTS}/{name}")
    shards = [Shard(name, len(part), name) for name, part in content.items()]
    own_weights.announce(conn, own_id, upload_id=WEIGHTS, shards=shards)
