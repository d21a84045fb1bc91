-- write_id: has roster.write_back(), which is yours, write an id, and sees to it that it stands in the row of the right person.
--
-- Guarantees: the id is written only while the row has the address that was last folded. Until then nobody knows whether the key means
-- the same person still, and an id in the row of another one would be taken for a word of the application: the account would be theirs.
-- Looked at after the write, for the row is locked since then, so that nobody can put another one in its place any more.
create or replace function roster.write_id(user_key text, auth0_user_id text) returns boolean
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    is_written boolean;
begin
    -- Fold knows this transaction, so that the write is no news of the user; the reason is for people who read history.
    update roster.accounts a set written_back_txid = pg_current_xact_id() where a.auth0_user_id = write_id.auth0_user_id;
    perform set_config('roster.reason', 'roster wrote the Auth0 id back', true), set_config('lock_timeout', '500ms', true);
    is_written := roster.write_back(write_id.user_key, write_id.auth0_user_id);
    perform from roster.accounts a
    join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation
    join roster.desired_users d on d.user_key = a.user_key
    where a.auth0_user_id = write_id.auth0_user_id and a.user_key = write_id.user_key and m.email is not distinct from lower(d.email);
    if not found then
        raise exception using errcode = 'serialization_failure',
            message = format('whether the account is that of user %s is not known until the change of the row is folded', write_id.user_key);
    end if;
    return is_written;
end
$function$;

revoke execute on function roster.write_id(text, text) from public;

comment on function roster.write_id(text, text) is
    'Has roster.write_back() write the id, unless the row has changed hands meanwhile: then it fails with 40001 and nothing is written.';
