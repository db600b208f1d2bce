-- What a job needs to know and nobody may read, sealed with a key that no database holds.

create table secrets (
    project_id text not null references projects,
    kind text not null,
    owner_id text not null,
    sealed bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (owner_id, kind)
);
