-- Ids that callers choose, datasets on their way to be files, and what people write beside a model.
-- Constant defaults only: no table is rewritten, and code of the version before goes on working.

-- `target` is the id of the job, or of the dataset, or of the job that makes the model.
create table aliases (
    project_id text not null references projects,
    kind text not null check (kind in ('job', 'dataset', 'model')),
    alias text not null,
    target text not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (project_id, kind, alias),
    unique (kind, target)
);

-- What is known of a dataset beside its file, which has the same id and comes later.
create table datasets (
    id text primary key,
    project_id text not null references projects,
    display_name text not null default '',
    format text not null default '',
    ignored text[] not null default '{}',
    created_by text not null default '',
    example_count bigint,
    upload_id text unique references uploads,
    shards jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
create index datasets_page on datasets (project_id);

alter table models add column display_name text not null default '';
alter table models add column description text not null default '';
alter table models add column updated_at timestamptz;
