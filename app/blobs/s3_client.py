"""The connection to an S3 server: its patience, and its errors in our words.

Endpoint, region and credentials come from the environment, under the names that every S3 program reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import S3CopyFailedError, S3DownloadFailedError

from app.blobs.base import Missing, StorageError
from app.config import aws_region

MEGABYTE = 1 << 20
PATIENCE = Config(
    signature_version="s3v4",
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
    max_pool_connections=32,
    request_checksum_calculation="when_required",  # what AWS added later is refused by other servers
    response_checksum_validation="when_required",
)
TRANSFERS = TransferConfig(
    multipart_threshold=16 * MEGABYTE,
    multipart_chunksize=16 * MEGABYTE,
    max_concurrency=4,
    num_download_attempts=3,
    preferred_transfer_client="classic",
)
COPIES = TransferConfig(multipart_threshold=5 << 30, multipart_chunksize=1 << 30, max_concurrency=4)
"""A server copies up to 5 GB by itself; beyond that it is asked to copy in parts."""


def connect() -> Any:
    """A client of its own session, so that threads may make one each.

    Raises StorageError when the environment makes no sense.
    """
    try:
        with s3_errors("storage"):
            return Session(region_name=aws_region()).client("s3", config=PATIENCE)
    except ValueError as error:
        raise StorageError("AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL is no URL") from error


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Turn what goes wrong inside into StorageError, in words that hold neither addresses nor credentials.

    Raises Missing when the server has no such key or upload.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))[:100]
        kind = Missing if code in ("NoSuchKey", "NoSuchUpload") else StorageError
        raise kind(f"{what}: S3 answered {code} to {error.operation_name}") from error
    except (Boto3Error, BotoCoreError, S3CopyFailedError, S3DownloadFailedError) as error:
        cause = error.__context__
        code = f", {cause.response['Error']['Code']}" if isinstance(cause, ClientError) else ""
        raise StorageError(f"{what}: {type(error).__name__}{code}") from error
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror or type(error).__name__}") from error
