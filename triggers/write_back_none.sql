-- write_back for a users table that has no column for the Auth0 id: nothing is written back. Yours to replace.
create function roster.write_back(user_key text, auth0_user_id text) returns boolean
    language sql
    set search_path = pg_catalog, pg_temp
return false;

revoke execute on function roster.write_back(text, text) from public;

comment on function roster.write_back(text, text) is
    'Writes nothing back: the users table has no column for the Auth0 id. Yours to replace, together with roster.desired_users.';
