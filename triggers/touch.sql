-- users.updated_at follows every update, except that of the id which Roster itself writes back.
--
-- The condition is the trigger's, though PostgreSQL reads it anew for each statement and a function's own would make an UPDATE of
-- one row a fifth cheaper: when a column is renamed, the trigger's follows, and a function would fail the application's statement.
create or replace function roster.touch() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    new.updated_at := localtimestamp;
    return new;
end
$function$;

revoke execute on function roster.touch() from public;

comment on function roster.touch() is 'Sets updated_at of the row that is updated.';

-- Only a users table that Roster made gets the trigger; its index tells.
do $$
begin
    if exists (
        select from pg_catalog.pg_index
        where indexrelid = to_regclass('public.users_email_without_case') and indrelid = to_regclass('public.users')
    ) then
        drop trigger if exists users_updated_at on public.users;
        create trigger users_updated_at
            before update on public.users
            for each row
            when (
                (old.id, old.email, old.name, old.role, old.blocked) is distinct from (new.id, new.email, new.name, new.role, new.blocked)
                or old.auth0_user_id is not distinct from new.auth0_user_id
            )
            execute function roster.touch();
        comment on trigger users_updated_at on public.users is
            'updated_at follows every update, except the one that only writes auth0_user_id.';
    end if;
end
$$;
