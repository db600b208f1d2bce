-- Data reports that were asked for before any job: what is to be looked at, and what was found.

create table reports (
    id text primary key,
    project_id text not null references projects,
    spec jsonb not null,
    attempt int not null default 0,
    lease_until timestamptz,
    sent_at timestamptz,
    content jsonb,
    created_at timestamptz not null default clock_timestamp(),
    made_at timestamptz,
    constraint made_has_time check ((content is null) = (made_at is null))
);
create index reports_waiting on reports (project_id) where content is null;
create index reports_aged on reports (created_at);
