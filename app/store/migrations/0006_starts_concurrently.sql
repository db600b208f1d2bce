-- What unfinished jobs go on from, so that its bytes stay.
drop index concurrently if exists jobs_begun_with;
create index concurrently jobs_begun_with on jobs ((spec->'start'->>'path'))
    where finished_at is null and spec->'start'->>'path' is not null;
