-- Organizations, projects, keys, files, jobs with their log, checkpoints and models.

create table orgs (
    id text primary key,
    created_at timestamptz not null default clock_timestamp()
);

create table projects (
    id text primary key,
    org_id text not null references orgs,
    created_at timestamptz not null default clock_timestamp()
);

create table api_keys (
    id text primary key,
    project_id text not null references projects,
    name text not null,
    prefix text not null,
    hash bytea not null unique,
    scopes text[] not null,
    strict_status boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    revoked_at timestamptz
);

create table files (
    id text primary key,
    project_id text not null references projects,
    filename text not null,
    purpose text not null,
    bytes bigint not null,
    sha256 text not null,
    path text not null,
    created_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz
);
create index files_page on files (project_id, created_at desc, id desc) where deleted_at is null;

create index files_purgeable on files (id) where deleted_at is not null and path <> '';

create table moves (a text not null, b text not null, primary key (a, b));
insert into moves (a, b) values
    ('validating_files', 'queued'), ('validating_files', 'failed'), ('validating_files', 'cancelled'),
    ('queued', 'running'), ('queued', 'paused'), ('queued', 'cancelled'),
    ('running', 'finalizing'), ('running', 'paused'), ('running', 'queued'), ('running', 'failed'),
    ('running', 'cancelled'),
    ('paused', 'queued'), ('paused', 'cancelled'),
    ('finalizing', 'succeeded'), ('finalizing', 'failed'), ('finalizing', 'cancelled');

create table jobs (
    id text primary key,
    project_id text not null references projects,
    org_id text not null references orgs,
    key_id text references api_keys,
    queue text not null default 'train',
    priority int not null default 0,
    status text not null default 'validating_files' check (status in ('validating_files', 'queued', 'running',
        'paused', 'finalizing', 'succeeded', 'failed', 'cancelled')),
    desired text not null default 'run' check (desired in ('run', 'pause', 'cancel')),
    attempt int not null default 0,
    crashes int not null default 0,
    lease_owner text,
    lease_until timestamptz,
    not_before timestamptz not null default clock_timestamp(),
    woken_at timestamptz,
    task_id text,
    idem_key text,
    idem_hash text not null,
    spec jsonb not null,
    metadata jsonb,
    environment jsonb,
    progress jsonb not null default '{}',
    result jsonb not null default '{}',
    error jsonb,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    sort_key timestamp generated always as ((created_at at time zone 'UTC') - priority * interval '1 hour') stored,
    constraint lease_is_whole check ((lease_owner is null) = (lease_until is null)),
    constraint ended_has_time check ((status in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint waiting_holds_no_lease
        check (status not in ('succeeded', 'failed', 'cancelled', 'paused', 'queued') or lease_owner is null),
    constraint running_holds_a_lease check (status <> 'running' or lease_owner is not null),
    constraint wish_has_a_reader
        check (desired = 'run' or lease_owner is not null or status in ('paused', 'cancelled')),
    constraint pause_only_of_training check (desired <> 'pause' or status in ('running', 'paused')),
    constraint paused_is_wished check (status <> 'paused' or desired = 'pause'),
    constraint woken_is_waiting check (woken_at is null
        or (lease_owner is null and status in ('validating_files', 'queued', 'finalizing')))
) with (fillfactor = 80);

create index jobs_page on jobs (project_id, created_at desc, id desc);
create index jobs_leased on jobs (id) where lease_owner is not null;
create index jobs_waiting on jobs (status, queue, sort_key, id)
    where woken_at is null and lease_owner is null and status in ('validating_files', 'queued', 'finalizing');
create index jobs_served on jobs (status, queue)
    where lease_owner is null and status in ('validating_files', 'queued', 'finalizing');
create index jobs_unfinished on jobs (project_id) where finished_at is null;
create index jobs_woken on jobs (status, queue) where woken_at is not null;
create index jobs_metadata on jobs using gin (metadata);
create unique index jobs_idempotency on jobs (project_id, idem_key) where idem_key is not null;
create index jobs_repeated on jobs (key_id, idem_hash, created_at);

create table job_events (
    id bigint generated always as identity primary key,
    job_id text not null references jobs,
    attempt int not null,
    seq int,
    once text,
    level text not null default 'info' check (level in ('info', 'warn', 'error')),
    type text not null default 'message' check (type in ('message', 'metrics')),
    message text not null,
    data jsonb,
    created_at timestamptz not null default clock_timestamp(),
    unique (job_id, attempt, seq),
    unique (job_id, once)
);
create index job_events_page on job_events (job_id, id);

create table checkpoints (
    id text primary key,
    job_id text not null references jobs,
    attempt int not null,
    step int not null,
    kind text not null check (kind in ('epoch', 'resume', 'stop')),
    name text not null,
    path text not null,
    best boolean not null default false,
    metrics jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    unique (job_id, step)
);

create index checkpoints_named on checkpoints (name);
create index checkpoints_resumable on checkpoints (job_id) where kind <> 'epoch';

create table models (
    name text primary key,
    project_id text not null references projects,
    org_id text not null references orgs,
    job_id text not null unique references jobs,
    base text not null,
    path text not null,
    manifest jsonb not null,
    linked_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz
);
create index models_page on models (project_id, created_at desc) where deleted_at is null;
create index models_purgeable on models (name) where deleted_at is not null and path <> '';
create index models_unlinked on models (name) where linked_at is null and deleted_at is null;

-- The guard: no move outside the table, no falling attempt.
create function guard_job() returns trigger language plpgsql as $$
begin
    if new.status <> old.status and not exists (select from moves where a = old.status and b = new.status) then
        raise exception 'job % cannot move from % to %', old.id, old.status, new.status;
    end if;
    if new.attempt < old.attempt then
        raise exception 'job % cannot fall from attempt % to %', old.id, old.attempt, new.attempt;
    end if;
    new.updated_at := clock_timestamp();
    return new;
end $$;
create trigger guard before update on jobs for each row execute function guard_job();

create function log_event(job jobs, level text, message text, data jsonb default null) returns void language sql as $$
    insert into job_events (job_id, attempt, level, message, data) values (job.id, job.attempt, level, message, data);
$$;

-- The narrator: each change of a job is told once, in a user's words, in the same transaction.
create function narrate_birth() returns trigger language plpgsql as $$
begin
    perform log_event(new, 'info', 'Created fine-tuning job: ' || new.id);
    perform log_event(new, 'info', 'Validating training file: ' || (new.spec->>'training_file')
        || coalesce(' and validation file: ' || (new.spec->>'validation_file'), ''),
        jsonb_build_object('status', new.status));
    return null;
end $$;
create trigger narrate_birth after insert on jobs for each row execute function narrate_birth();

create function narrate() returns trigger language plpgsql as $$
declare
    at_step text := coalesce(' at step ' || (new.progress->>'step'), '');
begin
    if new.crashes > old.crashes then
        perform log_event(new, 'warn', 'Worker lost' || at_step
            || case when new.status in ('queued', 'validating_files', 'finalizing')
               then '; the job goes on by itself in about '
                    || greatest(0, round(extract(epoch from new.not_before - clock_timestamp()))) || ' s'
               else '' end,
            jsonb_build_object('worker', old.lease_owner, 'losses', new.crashes));
    end if;
    if new.desired <> old.desired and new.status = old.status then
        if new.desired = 'pause' then
            perform log_event(new, 'info', 'Pause requested: finishing the current step');
        elsif new.desired = 'cancel' then
            perform log_event(new, 'info', 'Cancellation requested: stopping');
        elsif old.desired = 'pause' then
            perform log_event(new, 'info', 'Resume requested before the pause was reached');
        end if;
    end if;
    if new.status = old.status then
        return null;
    end if;
    if new.status = 'succeeded' and new.result ? 'fine_tuned_model' then
        perform log_event(new, 'info', 'New fine-tuned model created: ' || (new.result->>'fine_tuned_model'));
    end if;
    perform log_event(new,
        case new.status when 'failed' then 'error' when 'cancelled' then 'warn' else 'info' end,
        case new.status
            when 'queued' then case old.status
                when 'validating_files' then 'Files validated, moving job to queued state'
                when 'paused' then 'Fine-tuning job resumed, moving job to queued state'
                else 'Training was interrupted, moving job back to queued state' end
            when 'running' then case when old.started_at is null
                then 'Fine-tuning job started' else 'Fine-tuning job running again' end
            when 'paused' then 'Fine-tuning job paused' || at_step
            when 'finalizing' then 'Training finished, publishing the model'
            when 'succeeded' then 'The job has successfully completed'
            when 'failed' then 'The job failed: ' || coalesce(new.error->>'message', 'no reason was given')
            else 'The job was cancelled' end,
        jsonb_build_object('status', new.status, 'from', old.status));
    return null;
end $$;
create trigger narrate after update on jobs for each row
    when (old.status <> new.status or old.desired <> new.desired or old.crashes < new.crashes)
    execute function narrate();

-- The log is append-only.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'job_events is append-only';
end $$;
create trigger append_only before update or delete on job_events for each row execute function refuse_change();
