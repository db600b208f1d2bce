-- Indexes of fair shares, built while others write. What an earlier try left unfinished is dropped first.

-- Each organization's next jobs, those that are offered to the broker included.
drop index concurrently if exists jobs_next;
create index concurrently jobs_next on jobs (status, queue, org_id, sort_key, id)
    where lease_owner is null and status in ('validating_files', 'queued', 'finalizing');

drop index concurrently if exists jobs_busy;
create index concurrently jobs_busy on jobs (org_id) where status = 'running';

drop index concurrently if exists jobs_not_begun;
create index concurrently jobs_not_begun on jobs (org_id) where status in ('validating_files', 'queued');

drop index concurrently if exists jobs_trained;
create index concurrently jobs_trained on jobs (queue, finished_at) where status = 'succeeded';

drop index concurrently if exists jobs_waiting;
drop index concurrently if exists jobs_served;
