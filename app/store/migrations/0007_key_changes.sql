-- Whoever keeps a key in memory hears of each change to what it is good for; the note of its last use is none.
create function tell_of_keys() returns trigger language plpgsql as $$
begin
  notify api_keys;
  return null;
end $$;

create trigger key_changed after update of revoked_at, scopes, strict_status, project_id, hash or delete or truncate
  on api_keys for each statement execute function tell_of_keys();
create trigger owner_changed after update of org_id on projects for each statement execute function tell_of_keys();
