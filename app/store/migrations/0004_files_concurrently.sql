-- Files that will expire, for the clock.
drop index concurrently if exists files_expiring;
create index concurrently files_expiring on files (expires_at) where deleted_at is null and expires_at is not null;
