"""Settings: the only reader of the environment. The README's table is compared with this file by a test."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

DEFAULT_CATALOGUE = Path(__file__).resolve().parent.parent / "deploy" / "models.toml"


class SettingsError(ValueError):
    """The environment holds a setting that cannot be used; the message names it."""


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class Settings:
    """Every setting, named as its environment variable in lower case."""

    database_url: str = _setting("", "PostgreSQL 14 or newer, `postgresql://…`; required")
    redis_url: str = _setting("", "Redis, `redis://…` or `rediss://…`; required")
    redis_ssl_cert_reqs: str = _setting("required", "for `rediss://`: `required`, or `none` for self-signed hosts")
    redis_prefix: str = _setting("tuneyard:", "prefix of every Redis key, so that services may share one Redis")
    storage_url: str = _setting(
        "", "directory or `s3://bucket/prefix` of files, checkpoints and models, for all processes; required"
    )
    work_dir: str = _setting("", "scratch directory of a trainer worker; empty: the system's temporary directory")
    models_file: str = _setting(str(DEFAULT_CATALOGUE), "catalogue of base models, TOML")
    api_key: str = _setting("", "a key that the release step makes an owner key of project `default`")
    secret_key: str = _setting(
        "",
        "random text that signs URLs and seals secrets; `NEW,OLD` while it is replaced; without it there are neither",
    )
    lease_seconds: float = _setting(60.0, "how long a worker may be silent before its job is taken back; s")
    heartbeat_seconds: float = _setting(1.0, "time between two heartbeats of a running job; s")
    clock_seconds: float = _setting(5.0, "time between two rounds of the clock; s")
    retry_seconds: float = _setting(10.0, "wait after the first loss of a worker, doubled at each further one; s")
    forget_seconds: float = _setting(60.0, "after this long an unclaimed message is sent again; s")
    dispatch_ahead: int = _setting(8, "waiting jobs of one queue that are offered to Redis at a time")
    train_queue: str = _setting("train", "Celery queue of jobs whose model names no `queue` in the catalogue")
    trainer_queues: str = _setting("", "queues that a trainer worker serves, comma separated; empty: `TRAIN_QUEUE`")
    org_max_running: int = _setting(
        0, "jobs that an organization without a limit of its own trains at once; 0: no limit"
    )
    org_max_waiting: int = _setting(1000, "jobs of such an organization that may wait; more are refused; 0: no limit")
    preempt: bool = _setting(False, "let a waiting job stop a running one of its organization with a lower priority")
    checkpoint_seconds: float = _setting(60.0, "time between two resume points of a run; s")
    trainer_standby: bool = _setting(True, "keep one trainer process ready, which saves seconds at each start")
    trainer_concurrency: int = _setting(1, "jobs that one trainer worker trains at a time")
    trainer_threads: int = _setting(0, "CPU threads of one trainer; 0: the cores, shared among TRAINER_CONCURRENCY")
    answers: int = _setting(20, "validation prompts answered by base and tuned model at the end of a job")
    template_seconds: float = _setting(10.0, "CPU time that a job's own chat template may take for a row; s")
    template_mb: int = _setting(512, "memory that it may take for a row; MB")
    max_file_mb: int = _setting(512, "largest file that can be uploaded; MB")
    max_upload_mb: int = _setting(8192, "largest file that can be uploaded in parts; MB")
    max_shards: int = _setting(1000, "files that one dataset can be uploaded in")
    max_weights_files: int = _setting(200, "files that weights of one's own can be uploaded in")
    max_weights_mb: int = _setting(65536, "largest weights of one's own that can be uploaded, all files together; MB")
    silence_seconds: float = _setting(60.0, "after this long without a byte an upload by signed URL is given up; s")
    max_body_kb: int = _setting(1024, "largest JSON body; KB")
    max_streams: int = _setting(4, "event streams that one web process serves at a time; keep it below `WEB_THREADS`")
    stream_seconds: float = _setting(30.0, "after this long a stream of events ends, and its client comes back; s")
    result_files: str = _setting("base64", "result files over the API: `base64`, as OpenAI serves them, or `plain`")
    strict_status: bool = _setting(False, "show a paused job as `queued`, for clients with a closed list of states")
    price_per_trainer_hour: float = _setting(0.0, "price of an hour of training, for estimates; 0: none")
    price_per_million_tokens: float = _setting(0.0, "price of a million tokens, all epochs counted; 0: none")
    currency: str = _setting("USD", "currency of these prices, in words of your choice")
    log_level: str = _setting("INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`")

    @property
    def secret_keys(self) -> list[str]:
        """The keys of SECRET_KEY: the first is used, the others are honoured while they are being replaced."""
        return [key for part in self.secret_key.split(",") if (key := part.strip())]


def load(environ: Mapping[str, str]) -> Settings:
    """Read settings from an environment.

    Raises SettingsError when a value does not fit its type or a choice.
    """
    kinds = get_type_hints(Settings)
    values: dict[str, Any] = {}
    for item in fields(Settings):
        text = environ.get(item.name.upper(), "").strip()
        if text:
            values[item.name] = _parse(item.name, kinds[item.name], text)
    settings = Settings(**values)
    for name, choices in CHOICES.items():
        if getattr(settings, name) not in choices:
            raise SettingsError(f"{name.upper()} is one of {', '.join(choices)}")
    return settings


CHOICES = {
    "result_files": ("base64", "plain"),
    "redis_ssl_cert_reqs": ("required", "none"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
}


def _parse(name: str, kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
            raise SettingsError(f"{name.upper()} is 1 or 0, not {text!r}")
        return text.lower() in ("1", "true", "yes")
    try:
        value = kind(text)
    except ValueError as error:
        raise SettingsError(f"{name.upper()} is a number, not {text!r}") from error
    if kind in (int, float) and not 0 <= value < 1e9:
        raise SettingsError(f"{name.upper()} cannot be {text}")
    return value


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load(os.environ)


def aws_region() -> str | None:
    """The region of an S3 server: of the variables that every S3 program reads, boto3 overlooks this one alone."""
    return os.environ.get("AWS_REGION") or None


def hub_cache() -> Path:
    """Where models from the hub lie that this machine has fetched, as its library finds the folder."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def require(*names: str) -> Settings:
    """The settings of this process, when each of `names` is set.

    Raises SettingsError that names the first one missing: a missing URL must never pass unnoticed.
    """
    for name in names:
        if not getattr(settings(), name):
            raise SettingsError(f"{name.upper()} is not set")
    return settings()
