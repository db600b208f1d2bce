"""Datasets: a training file each, or the announcement of one; what is known beside the file has a row of its own."""

from collections.abc import Sequence

from app.core.errors import Unknown
from app.core.listings import Listed, Listing
from app.core.resources import DATASET_FIELDS, Dataset, Shard, stored
from app.store import aliases, listings, rows
from app.store.db import Connection, Row, jsonb
from app.store.files import PRESENT

COLUMNS = rows.columns(Dataset)
SOURCE = f"""
    select coalesce(a.alias, x.id) as name, x.id, coalesce(d.display_name, x.filename) as display_name,
           coalesce(d.format, '') as format, x.state, x.bytes, d.example_count,
           coalesce(d.ignored, '{{}}') as ignored, coalesce(d.created_by, '') as created_by,
           d.upload_id, coalesce(d.shards, '{{}}') as shards,
           coalesce(d.created_at, x.created_at) as created_at, coalesce(d.updated_at, x.created_at) as updated_at
      from (select id, filename, 'READY' as state, bytes, created_at from files
             where project_id = %(project)s and purpose = 'fine-tune' and {PRESENT}
            union all
            select id, '', 'UPLOADING', 0, created_at from datasets
             where project_id = %(project)s and not exists (select from files where files.id = datasets.id)) x
      left join datasets d on d.id = x.id
      left join aliases a on a.kind = 'dataset' and a.target = x.id
"""


def insert(
    conn: Connection[Row],
    dataset_id: str,
    *,
    project_id: str,
    display_name: str,
    format: str,  # noqa: A002
    ignored: Sequence[str],
    created_by: str,
) -> None:
    """Make a dataset known before its file is there."""
    conn.execute(
        """
        insert into datasets (id, project_id, display_name, format, ignored, created_by)
        values (%(id)s, %(project)s, %(display_name)s, %(format)s, %(ignored)s, %(by)s)
        """,
        {
            "id": dataset_id,
            "project": project_id,
            "display_name": display_name,
            "format": format,
            "ignored": list(ignored),
            "by": created_by,
        },
    )


def page(conn: Connection[Row], project_id: str, listing: Listing) -> Listed[Dataset]:
    """A page of a project's datasets. Raises Invalid as filters do."""
    return listings.page(conn, Dataset, SOURCE, DATASET_FIELDS, listing, {"project": project_id})


def get(conn: Connection[Row], project_id: str, name: str) -> Dataset:
    """The dataset of a project, by its chosen id or its own. Raises Unknown."""
    dataset = rows.one(
        conn,
        Dataset,
        f"select {COLUMNS} from ({SOURCE}) found where id = %(id)s",
        {"project": project_id, "id": aliases.target(conn, project_id, "dataset", name)},
    )
    if dataset is None:
        raise Unknown(f"There is no dataset '{name}'", param="dataset")
    return dataset


def hold(conn: Connection[Row], project_id: str, name: str) -> Dataset:
    """The dataset of a project; no other transaction changes it before this one has ended. Raises Unknown."""
    wanted = aliases.target(conn, project_id, "dataset", name)
    conn.execute("select from datasets where id = %s and project_id = %s for update", (wanted, project_id))
    return get(conn, project_id, name)


def announce(conn: Connection[Row], dataset_id: str, *, upload_id: str, shards: Sequence[Shard]) -> None:
    """Replace the set of shards that a dataset is to be made of."""
    conn.execute(
        """
        update datasets set upload_id = %(upload)s, shards = %(shards)s, updated_at = clock_timestamp()
         where id = %(id)s
        """,
        {"id": dataset_id, "upload": upload_id, "shards": jsonb(stored(shards))},
    )


def counted(conn: Connection[Row], dataset_id: str, *, examples: int) -> None:
    """Note how many rows the file has that the same transaction made known, at whichever door it came in."""
    conn.execute(
        """
        insert into datasets (id, project_id, display_name, example_count, created_at, updated_at)
        select id, project_id, filename, %(examples)s, created_at, created_at from files where id = %(id)s
        on conflict (id) do update set example_count = excluded.example_count, updated_at = clock_timestamp()
        """,
        {"id": dataset_id, "examples": examples},
    )


def describe(
    conn: Connection[Row], dataset: Dataset, project_id: str, *, display_name: str, ignored: Sequence[str]
) -> None:
    """Write a display name, also for a file that came through another door."""
    conn.execute(
        """
        insert into datasets (id, project_id, display_name, ignored, created_at)
        values (%(id)s, %(project)s, %(display_name)s, %(ignored)s, %(created)s)
        on conflict (id) do update set display_name = excluded.display_name, ignored = excluded.ignored,
               updated_at = clock_timestamp()
        """,
        {
            "id": dataset.id,
            "project": project_id,
            "display_name": display_name,
            "ignored": list(ignored),
            "created": dataset.created_at,
        },
    )


def delete(conn: Connection[Row], dataset_id: str) -> None:
    """Forget a dataset and its chosen id; its file, if there is one, is deleted as files are."""
    aliases.release(conn, "dataset", target=dataset_id)
    conn.execute("delete from datasets where id = %s", (dataset_id,))
