-- Fair shares between organizations, making way for urgent work, active time, and why a worker was lost.
-- Constant defaults only: no table is rewritten, and code of the version before goes on working.

alter table jobs
    add column yields boolean not null default false,
    add column claimed_at timestamptz,
    add column active_seconds double precision not null default 0,
    add column loss text;

alter table orgs
    add column weight real not null default 1 check (weight > 0),
    add column max_running int check (max_running >= 0),
    add column max_waiting int check (max_waiting >= 0),
    add column usage double precision not null default 0,
    add column usage_at timestamptz not null default now();

-- Used trainer seconds fade with a half-life of a day.
create function faded(usage double precision, since timestamptz) returns double precision language sql stable as $$
    select usage * power(0.5::float8, greatest(0, extract(epoch from now() - since)::float8) / 86400)
$$;

-- A turn's time counts while it trains; whoever lets go of the lease, the wish to make way has been met.
create or replace function guard_job() returns trigger language plpgsql as $$
begin
    if new.status <> old.status and not exists (select from moves where a = old.status and b = new.status) then
        raise exception 'job % cannot move from % to %', old.id, old.status, new.status;
    end if;
    if new.attempt < old.attempt then
        raise exception 'job % cannot fall from attempt % to %', old.id, old.attempt, new.attempt;
    end if;
    if old.lease_owner is null and new.lease_owner is not null then
        new.claimed_at := clock_timestamp();
        new.loss := null;
    elsif old.lease_owner is not null and new.lease_owner is null then
        new.yields := false;
        if old.status = 'running' then
            new.active_seconds := old.active_seconds + greatest(0, coalesce(
                extract(epoch from least(clock_timestamp(), old.lease_until) - old.claimed_at), 0));
        end if;
    end if;
    new.updated_at := clock_timestamp();
    return new;
end $$;

create or replace function narrate() returns trigger language plpgsql as $$
declare
    at_step text := coalesce(' at step ' || (new.progress->>'step'), '');
begin
    if new.crashes > old.crashes then
        perform log_event(new, 'warn', 'Worker lost' || at_step
            || case old.loss when 'memory' then ', its trainer was killed for memory' else '' end
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
    if new.yields and not old.yields then
        perform log_event(new, 'info', 'Making way for more urgent work: finishing the current step; '
            || 'the job goes on by itself from there');
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
                else case when old.yields then 'Made way for more urgent work' || at_step
                    else 'Training was interrupted' end || ', moving job back to queued state' end
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

drop trigger narrate on jobs;
create trigger narrate after update on jobs for each row
    when (old.status <> new.status or old.desired <> new.desired or old.crashes < new.crashes
          or old.yields <> new.yields)
    execute function narrate();
