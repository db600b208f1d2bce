-- Jobs that a door with deletion shows no more; other doors go on showing them.
alter table jobs add column deleted_at timestamptz;
