-- Uploads in parts, files that expire, and models that other projects may use.
-- Constant defaults only: no table is rewritten, and code of the version before goes on working.

create table uploads (
    id text primary key,
    project_id text not null references projects,
    filename text not null,
    purpose text not null,
    bytes bigint not null check (bytes >= 0),
    mime_type text not null,
    lifetime int check (lifetime > 0),
    status text not null default 'pending' check (status in ('pending', 'completed', 'cancelled', 'expired')),
    received bigint not null default 0,
    part_ids text[],
    md5 text,
    file_id text,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint completed_has_a_file
        check ((status = 'completed') = (file_id is not null and part_ids is not null and md5 is not null))
);
create index uploads_pending on uploads (expires_at) where status = 'pending';

create table upload_parts (
    id text primary key,
    upload_id text not null references uploads,
    bytes bigint not null check (bytes > 0),
    path text not null,
    created_at timestamptz not null default clock_timestamp()
);
create index upload_parts_of on upload_parts (upload_id);
create index upload_parts_paths on upload_parts (path);

alter table files add column expires_at timestamptz;

-- A project may use the tuned model or checkpoint of this name, which its owner's project made.
create table permissions (
    id text primary key,
    model text not null,
    project_id text not null references projects,
    created_at timestamptz not null default clock_timestamp(),
    unique (model, project_id)
);
create index permissions_page on permissions (model, created_at desc, id desc);
create index permissions_held on permissions (project_id);
