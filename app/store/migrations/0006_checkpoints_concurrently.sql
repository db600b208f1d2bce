-- What only a resume needs, for the clock: a best checkpoint outlives its job wherever it was made.
drop index concurrently if exists checkpoints_spare;
create index concurrently checkpoints_spare on checkpoints (job_id) where not (kind = 'epoch' or best);

drop index concurrently if exists checkpoints_resumable;
