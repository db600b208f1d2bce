-- A trainer that is lost for memory was killed for it, or found that others hold what it needs: words true of both.

do $$ begin
    execute replace(pg_get_functiondef('narrate'::regproc),
                    'its trainer was killed for memory', 'its trainer did not get the memory it needed');
end $$;
