-- Weights of a project's own on their way to be a model; the model that they become has the same id.
-- Constant defaults only: no table is rewritten, and code of the version before goes on working.

create table own_weights (
    id text primary key,
    project_id text not null references projects,
    display_name text not null default '',
    description text not null default '',
    base text not null default '',
    hyperparameters jsonb not null default '{}',
    ignored text[] not null default '{}',
    created_by text not null default '',
    upload_id text unique references uploads,
    shards jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
create index own_weights_page on own_weights (project_id);

-- A model comes from a job, or has come as its owner's weights.
alter table models alter column job_id drop not null;
alter table models add column own_id text;
alter table models add constraint model_has_one_origin check ((job_id is null) <> (own_id is null)) not valid;
