-- The buttons, in SQL: look again, choose the mode, pause, say who is invited.
--
-- Each appends to roster.changes, so that somebody is rung and history tells who pressed. They are SECURITY DEFINER: EXECUTE is the
-- right that counts (roster_operator has it).

create or replace function roster.this_database() returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
return (select system_identifier::text from pg_control_system()) || '/' || (select oid::text from pg_database where datname = current_database());

comment on function roster.this_database() is 'Which database this is: another one, such as a restored copy, starts in observe.';

-- The user keys that `who` means: an e-mail address, a user key or an Auth0 id; of users that are there or were.
create or replace function roster.find_users(who text) returns setof text
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
        select d.user_key from roster.desired_users d where d.user_key = who
        union
        select d.user_key from roster.desired_users d where lower(d.email) = lower(who)
        union
        select m.user_key from roster.mirror m where m.user_key = who
        union
        select a.user_key from roster.accounts a where a.auth0_user_id = who or lower(a.email) = lower(who) and a.state <> 'gone';
    if not found then
        raise exception using errcode = 'RO003',
            message = format('nobody is known as %L', who),
            detail = 'It was looked for as an e-mail address, as a user key and as an Auth0 user id, among users and removed users.',
            hint = 'select user_key, email from roster.desired_users where email ilike ''%…%'';';
    end if;
end
$function$;

comment on function roster.find_users(text) is 'The user keys meant by an e-mail address, a user key or an Auth0 id.';

create or replace function roster.resync(who text) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    keys text[] := array(select roster.find_users(who));
begin
    -- Auth0 itself is looked at again, whatever is remembered of it.
    update roster.accounts set observed_at = null where user_key = any (keys) and state = 'linked';
    insert into roster.changes (op, user_keys) values ('resync', keys);
    return cardinality(keys);
end
$function$;

comment on function roster.resync(text) is 'The manual sync button for one user (e-mail, key or Auth0 id): looks at Auth0 again and mends what differs. Says how many users it concerns.';

create or replace function roster.resync_all() returns void
    language sql security definer
    set search_path = pg_catalog, pg_temp
begin atomic
    insert into roster.changes (op) values ('resync_all');
end;

comment on function roster.resync_all() is 'The manual sync button for everybody: compares all users with what Auth0 last showed, now.';

drop function if exists roster.retry_failed();

create or replace function roster.retry_failed(code text default null) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    keys text[] := array(
        select m.user_key from roster.mirror m where m.error_code is not null and (retry_failed.code is null or m.error_code = retry_failed.code));
begin
    if cardinality(keys) > 0 then
        insert into roster.changes (op, user_keys, reason) values ('retry_failed', keys, coalesce(retry_failed.code, nullif(current_setting('roster.reason', true), '')));
    end if;
    return cardinality(keys);
end
$function$;

comment on function roster.retry_failed(text) is 'Tries what failed again, now: everything, or what failed with this code. Says how many users that concerns.';

create or replace function roster.pause(reason text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    update roster.settings set paused_at = coalesce(paused_at, now()), pause_reason = reason;
    insert into roster.changes (op, user_keys, reason) values ('pause', '{}', reason);
end
$function$;

comment on function roster.pause(text) is
    'Stops all calls to Auth0, between two calls, until roster.resume(); what was begun before goes out within ten seconds. Capture and authorization go on.';

create or replace function roster.resume() returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update roster.settings set paused_at = null, pause_reason = null;
    -- Whoever had something to do is due still.
    insert into roster.changes (op, user_keys) values ('resume', '{}');
end
$function$;

comment on function roster.resume() is 'Ends a pause; what waited goes on at once.';

create or replace function roster.set_mode(mode text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    if mode is null or mode not in ('observe', 'additive', 'enforce') then
        raise exception using errcode = 'RO004',
            message = format('there is no mode %L', mode),
            detail = 'observe writes nothing to Auth0; additive neither blocks nor deletes; enforce does everything.',
            hint = 'select roster.set_mode(''observe'');';
    end if;
    -- Whoever is here now was here before Roster was allowed to write: looked at first, invited only when a person says so.
    if (select s.mode from roster.settings s) = 'observe' then
        insert into roster.mirror (user_key, email, baseline, look_wanted, lane)
        select d.user_key, lower(d.email), true, true, 'bulk' from roster.desired_users d
        on conflict (user_key) do nothing;
    end if;
    update roster.settings set mode = mode, mode_chosen_by = session_user, mode_chosen_at = now(), database_identity = roster.this_database();
    insert into roster.changes (op, reason) values ('set_mode', mode);
end
$function$;

comment on function roster.set_mode(text) is 'observe: read and show, write nothing to Auth0; additive: neither block nor delete; enforce: everything.';

create or replace function roster.release_held(which text) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return roster.judge_held(which, 'released');
end
$function$;

comment on function roster.release_held(text) is 'Lets held removals go ahead: ''all'', or one user (e-mail, key or Auth0 id). Each is planned anew first. Says how many.';

create or replace function roster.discard_held(which text) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return roster.judge_held(which, 'kept');
end
$function$;

comment on function roster.discard_held(text) is 'Keeps the accounts of held removals until their rows change again: ''all'', or one user. Says how many.';

create or replace function roster.judge_held(which text, verdict text) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    keys text[];
begin
    if which = 'all' then
        keys := array(select distinct p.user_key from roster.plan p where p.state = 'held');
    else
        -- Asked first, so that a word that means nobody is told, whether or not anything is held.
        keys := array(select roster.find_users(which));
        keys := array(select distinct p.user_key from roster.plan p where p.state = 'held' and p.user_key = any (keys));
    end if;
    if cardinality(keys) = 0 and which <> 'all' and exists (
        select from roster.held h where h.user_key in (select roster.find_users(which))
    ) then
        raise exception using errcode = 'RO005',
            message = format('the removal of %L is held no more', which),
            detail = 'It was when the reactor last looked at it; its plan says otherwise by now.',
            hint = format('select roster.resync(%L);', which);
    end if;
    if cardinality(keys) = 0 then
        raise exception using errcode = 'RO005',
            message = format('no removal is held for %L', which),
            detail = format('%s removals are held in all.', (select count(*) from roster.plan where state = 'held')),
            hint = 'select * from roster.held;';
    end if;
    update roster.mirror set removal_verdict = verdict, due = true, due_since = coalesce(due_since, now()), generation = generation + 1, lane = 'removal'
    where user_key = any (keys);
    delete from roster.stuck where user_key = any (keys);
    insert into roster.changes (op, user_keys) values (case verdict when 'released' then 'release_held' else 'discard_held' end, keys);
    return cardinality(keys);
end
$function$;

comment on function roster.judge_held(text, text) is 'What release_held and discard_held share.';

create or replace function roster.link(who text, auth0_user_id text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    keys text[] := array(select roster.find_users(who));
    holder text;
begin
    if link.auth0_user_id is null or length(link.auth0_user_id) > 255 or link.auth0_user_id !~ '^[^|[:space:][:cntrl:]]+\|[^[:cntrl:]]+$' then
        raise exception using errcode = 'RO011',
            message = format('%L is no Auth0 user id', left(link.auth0_user_id, 80)),
            detail = 'One is a connection''s name and an id, with a bar between them, and has at most 255 characters.',
            hint = format('select roster.link(%L, ''auth0|…'');', who);
    end if;
    if cardinality(keys) <> 1 then
        raise exception using errcode = 'RO006',
            message = format('%L means %s users', who, cardinality(keys)),
            detail = format('They are %s.', keys),
            hint = format('select roster.link(%L, %L);', keys[1], link.auth0_user_id);
    end if;
    if exists (select from roster.arrivals n where n.user_key = keys[1]) and exists (select from roster.mirror m where m.user_key = keys[1]) then
        raise exception using errcode = 'RO012',
            message = format('whom the key %s means is not known until its last change is folded', keys[1]),
            detail = 'It was used before, and its row has only just come.',
            hint = format('commit; select * from roster.wait(); select roster.link(%L, %L);', who, link.auth0_user_id);
    end if;
    select a.user_key into holder from roster.accounts a
    where a.auth0_user_id = link.auth0_user_id and a.state <> 'gone' and a.user_key <> keys[1];
    if holder is not null then
        raise exception using errcode = 'RO007',
            message = format('%s is linked to user %s', link.auth0_user_id, holder),
            detail = 'An account belongs to one user.',
            hint = format('select roster.unlink(%L);', link.auth0_user_id);
    end if;
    insert into roster.mirror (user_key, email) select d.user_key, lower(d.email) from roster.desired_users d where d.user_key = keys[1]
    on conflict (user_key) do nothing;
    -- An id that was chosen and never used gives way; another account of the same person becomes a further one.
    delete from roster.accounts a where a.user_key = keys[1] and a.state = 'chosen' and a.call_id is null;
    update roster.accounts a set origin = 'further'
    from roster.mirror m
    where m.user_key = a.user_key and a.user_key = keys[1] and a.incarnation = m.incarnation and a.origin <> 'further'
        and a.auth0_user_id <> link.auth0_user_id;
    insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state)
    select link.auth0_user_id, m.user_key, m.incarnation, 'adopted', 'linked' from roster.mirror m where m.user_key = keys[1]
    on conflict (auth0_user_id) do update
    set user_key = excluded.user_key, incarnation = excluded.incarnation, origin = excluded.origin, state = 'linked', observed_at = null
    where accounts.user_key = excluded.user_key or accounts.state = 'gone';
    if not found then
        -- Somebody linked it while this waited.
        raise exception using errcode = 'RO007',
            message = format('%s was just linked to another user', link.auth0_user_id),
            detail = 'An account belongs to one user.',
            hint = format('select roster.unlink(%L);', link.auth0_user_id);
    end if;
    update roster.mirror set look_wanted = false, disputed = null, conflict = false where user_key = keys[1];
    insert into roster.changes (op, user_keys, reason) values ('link', keys, link.auth0_user_id);
end
$function$;

comment on function roster.link(text, text) is 'Settles what is disputed: this Auth0 account is that user''s (e-mail, key or Auth0 id). Auth0 is looked at before anything is written.';

create or replace function roster.unlink(auth0_user_id text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    forgotten roster.accounts;
begin
    delete from roster.accounts a where a.auth0_user_id = unlink.auth0_user_id returning a.* into forgotten;
    if forgotten.user_key is null then
        raise exception using errcode = 'RO008',
            message = format('no user is linked to %s', unlink.auth0_user_id),
            detail = 'Only accounts in roster.accounts are linked.',
            hint = 'select user_key, auth0_user_id from roster.accounts;';
    end if;
    -- A further log-in, or the account of who had the key before, says nothing of whose the user's own is.
    update roster.mirror m set look_wanted = true, disputed = 'unlinked'
    where m.user_key = forgotten.user_key and m.incarnation = forgotten.incarnation and forgotten.origin <> 'further';
    delete from roster.stuck s where s.user_key = forgotten.user_key and s.auth0_user_id = unlink.auth0_user_id;
    insert into roster.changes (op, user_keys, reason) values ('unlink', '{}', unlink.auth0_user_id);
end
$function$;

comment on function roster.unlink(text) is 'Forgets an account: Roster neither changes nor blocks it any more. If it was the user''s own, the user is disputed until roster.link().';

create or replace function roster.invite(who text) returns text
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    keys text[] := array(select roster.find_users(who));
    released integer;
    raised integer;
begin
    delete from roster.invitations i using roster.mirror m
    where m.user_key = any (keys) and i.user_key = m.user_key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch and i.state = 'staged';
    get diagnostics released = row_count;
    if released = 0 then
        -- Asked for again before it went out: still one mail.
        update roster.mirror m set invite_epoch = m.invite_epoch + 1
        where m.user_key = any (keys)
            and (m.invite_epoch = 0 or exists (
                select from roster.invitations i
                where i.user_key = m.user_key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch
            ));
        get diagnostics raised = row_count;
    end if;
    insert into roster.changes (op, user_keys) values ('invite', keys);
    return case when released > 0 then 'the staged invitation is released' when raised > 0 then 'a new invitation goes out' else 'an invitation is on its way already' end;
end
$function$;

comment on function roster.invite(text) is 'Releases a staged invitation, or wants a new one, for a user (e-mail, key or Auth0 id). Says which.';

create or replace function roster.follow(user_key text, auth0_user_id text, email text) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    insert into roster.accounts (auth0_user_id, user_key, incarnation, origin, state, email, email_verified)
    select follow.auth0_user_id, m.user_key, m.incarnation, 'further', 'linked', follow.email, true
    from roster.mirror m where m.user_key = follow.user_key and m.disputed is null
    on conflict (auth0_user_id) do nothing;
    if not found then
        return false;
    end if;
    insert into roster.changes (op, user_keys, reason) values ('follow', array[follow.user_key], follow.auth0_user_id);
    return true;
end
$function$;

comment on function roster.follow(text, text, text) is
    'Remembers, unless the user is disputed, that a verified e-mail matched a user at log-in, so that this account gets the same role, permissions and block. Used by the authorization server.';

create or replace function roster.revision() returns text
    language sql volatile
    set search_path = pg_catalog, pg_temp
return pg_current_xact_id()::text;

comment on function roster.revision() is 'The writing transaction, for the header X-Roster-At-Least: an answer with it is never older than this commit.';

revoke execute on function
    roster.find_users(text), roster.resync(text), roster.resync_all(), roster.retry_failed(text), roster.pause(text), roster.resume(),
    roster.set_mode(text), roster.release_held(text), roster.discard_held(text), roster.judge_held(text, text), roster.link(text, text),
    roster.unlink(text), roster.invite(text), roster.follow(text, text, text)
from public;
