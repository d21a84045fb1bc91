-- What of a plan waits for a person, and its note in roster.stuck while nobody is at work (src/db/stuck.rs writes it otherwise).
-- Of mails that are parked the ledger of invitations tells.
create or replace function roster.is_stuck(state text, action text) returns boolean
    language sql immutable parallel safe
return state in ('held', 'disputed', 'parked') and action <> 'invite';

comment on function roster.is_stuck(text, text) is 'Whether a row of roster.plan with this state and action waits for a person, so that roster.stuck tells of it.';

-- During a pause nobody is at work who would note it.
create or replace function roster.note_stuck(keys text[]) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    delete from roster.stuck s where s.user_key = any (keys);
    insert into roster.stuck (user_key, auth0_user_id, email, action, state, code, reason, since, removed_by)
    select p.user_key, p.auth0_user_id, p.email, p.action, p.state, p.code, p.reason, coalesce(m.removed_at, m.due_since), m.removed_by
    from roster.plan p join roster.mirror m on m.user_key = p.user_key
    where p.user_key = any (keys) and roster.is_stuck(p.state, p.action);
end
$function$;

revoke execute on function roster.note_stuck(text[]) from public;

comment on function roster.note_stuck(text[]) is 'Writes to roster.stuck what of these users'' plans waits for a person now.';
