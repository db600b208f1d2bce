-- An id of one's own weights is one model's.
drop index concurrently if exists models_own;
create unique index concurrently models_own on models (own_id) where own_id is not null;
