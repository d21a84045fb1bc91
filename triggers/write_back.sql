-- write_back: fills auth0_user_id in the application's table. Yours to replace, together with roster.desired_users.
create function roster.write_back(user_key text, auth0_user_id text) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    -- A row that somebody holds is left for later, so that nobody waits for Roster; an id that stands already is never overwritten.
    -- But for one whose account is gone.
    perform from public.users u
    where u.id::text = write_back.user_key and (u.auth0_user_id is null or roster.is_of_the_past(u.auth0_user_id::text, write_back.user_key))
    for update skip locked;
    if not found then
        return false;
    end if;
    update public.users u set auth0_user_id = write_back.auth0_user_id
    where u.id::text = write_back.user_key and (u.auth0_user_id is null or roster.is_of_the_past(u.auth0_user_id::text, write_back.user_key));
    return found;
end
$function$;

revoke execute on function roster.write_back(text, text) from public;

comment on function roster.write_back(text, text) is
    'Writes the Auth0 id into the application''s table, unless the row is locked or has one that is not gone. Says whether it did. Yours to replace.';
