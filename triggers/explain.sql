-- explain: one causal text about a user, from the row to the next step. It reads what the reactor and the authorization server read.
--
-- Guarantees: every state that roster.plan and roster.mirror can be in has a sentence, and the text ends in what to do next, as a
-- statement wherever there is one. Runs with the caller's rights: who may read everything may ask.

-- What a person does about one row of the plan.
create or replace function roster.next_step(user_key text, state text, action text, reason text) returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
return case next_step.state
    when 'held' then format('Let it go ahead: select roster.release_held(%L); or keep the account: select roster.discard_held(%1$L);', next_step.user_key)
    when 'disputed' then case
        when next_step.reason = 'key_doubled' then 'Mend the view roster.desired_users: it shows this key more than once.'
        when next_step.reason like 'the row names %' then format('Put the id of the linked account back into the row; or say that it is the other one: select roster.link(%L, %L);',
            next_step.user_key, substr(next_step.reason, length('the row names ') + 1))
        when next_step.reason like 'user % has the same address' then 'Give one of the rows with this address another one.'
        else format('Decide whose account it is: select roster.link(%L, ''auth0|…'');', next_step.user_key)
    end
    when 'parked' then case next_step.action
        when 'invite' then format('Ask the person; send another one: select roster.invite(%L);', next_step.user_key)
        else 'Correct the row: it is tried again as soon as it changes.'
    end
    when 'staged' then format('Send it: select roster.invite(%L);', next_step.user_key)
    when 'kept' then 'Nothing: a person kept this account until the row changes again.'
    when 'suppressed' then case
        when (select s.paused_at is not null from roster.settings s) then 'It waits for the end of the pause: select roster.resume();'
        else 'It waits for another mode: select roster.set_mode(''enforce'');'
    end
    when 'waiting' then 'Nothing: it goes on by itself.'
    else case
        when (select t.reactors = 0 from (
            select count(*) as reactors from roster.reactors r where r.stopped_at is null and r.heartbeat_at >= now() - roster.heartbeat_patience()
        ) t) then 'No reactor is running. Start one: roster run'
        else 'Nothing: the reactor is about to do it.'
    end
end;

comment on function roster.next_step(text, text, text, text) is 'What a person can do about a row of roster.plan, with the statement.';

-- Which statement would let this user do something; null if there is no table of ours to write it to.
create or replace function roster.missing_grant(user_key text, role text, permission text) returns text
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if to_regclass('public.role_permissions') is null or to_regclass('public.user_permissions') is null
        or to_regclass('public.users') is null then
        return null;
    end if;
    return format('insert into user_permissions (user_id, permission) values (%L, %L);', user_key, permission)
        || case when role is not null
            then format(' or, for everybody with that role: insert into role_permissions (role, permission) values (%L, %L);', role, permission)
            else '' end;
end
$function$;

comment on function roster.missing_grant(text, text, text) is 'The statements that would grant a permission to a user, alone or through the role.';

create or replace function roster.explain_user(user_key text, permission text) returns text
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    key constant text := explain_user.user_key;
    lines text[] := '{}';
    nexts text[] := '{}';
    d record;
    m record;
    thing record;
    is_there boolean;
    rows_of_key integer;
begin
    select count(*) into rows_of_key from roster.desired_users v where v.user_key = key;
    is_there := rows_of_key > 0;
    select v.user_key, v.email, v.name, v.role, v.permissions, v.blocked, v.auth0_user_id into d
    from roster.desired_users v where v.user_key = key limit 1;
    select * into m from roster.mirror r where r.user_key = key;

    -- The row, and who touched it last.
    lines := lines || case
        when is_there then format('User %s <%s> is in roster.desired_users: role %s, %s.', key, coalesce(d.email, 'no address'),
            coalesce(d.role, 'none'), case when d.blocked then 'blocked' else 'not blocked' end)
        when m.removed_by is not null then format('User %s <%s> has no row: it went by %s at %s.', key, coalesce(m.email, 'no address'), m.removed_by, date_trunc('second', m.removed_at))
        else format('User %s has no row in roster.desired_users.', key)
    end;
    for thing in
        select c.op, c.relation, c.changed_at, c.changed_by, c.application_name, c.reason, c.folded_at
        from roster.changes_of(key) c where c.user_keys is not null order by c.id desc limit 1
    loop
        lines := lines || format('Last change: %s%s at %s by %s%s%s.', thing.op, ' on ' || thing.relation, date_trunc('second', thing.changed_at), thing.changed_by,
            ' with ' || nullif(thing.application_name, ''), ', because: ' || thing.reason)
            || case when thing.folded_at is null then array['The reactor has not taken this change over yet.'] else '{}' end;
    end loop;

    -- What the row means: permissions, and the answer of the authorization server.
    if is_there then
        lines := lines || format('Effective permissions (%s): %s.', cardinality(d.permissions),
            coalesce(nullif(array_to_string(d.permissions, ', '), ''), 'none'));
        lines := lines || case
            when rows_of_key > 1 then format('The view shows this key %s times, so every authorization is refused.', rows_of_key)
            when d.blocked then 'Every authorization is refused (user_blocked), whatever Auth0 has been told.'
            when explain_user.permission is null then 'Authorization answers with this role and these permissions.'
            when explain_user.permission = any (d.permissions) then format('%s is allowed.', explain_user.permission)
            else format('%s is denied: no grant says so.', explain_user.permission)
        end;
        if explain_user.permission is not null and d.blocked is not true and not explain_user.permission = any (d.permissions) then
            nexts := nexts || coalesce('Grant it: ' || roster.missing_grant(key, d.role, explain_user.permission),
                format('Grant it where roster.desired_users reads the permissions of user %s from.', key));
        elsif explain_user.permission is not null and d.blocked then
            nexts := nexts || 'Unblock the row first: the column blocked that roster.desired_users reads.'::text;
        end if;
    else
        lines := lines || 'Every authorization is refused (user_not_provisioned) since the row is gone.'::text;
    end if;

    -- What Auth0 last showed.
    for thing in
        select a.* from roster.accounts a where a.user_key = key order by a.origin = 'further', a.incarnation desc, a.auth0_user_id
    loop
        lines := lines || format('Account %s (%s%s): %s.', thing.auth0_user_id, thing.origin,
            case when m.user_key is not null and thing.incarnation <> m.incarnation then ', of a former person with this key' else '' end,
            case thing.state
                when 'chosen' then 'its id is chosen, and Auth0 is not known to have it'
                when 'missing' then 'Auth0 did not find it; it is looked for by its address'
                when 'gone' then 'deleted in Auth0, or linked into another account'
                else format('seen at %s with role %s, %s', coalesce(date_trunc('second', thing.observed_at)::text, 'no time yet'), coalesce(thing.app_metadata ->> 'role', 'none'), case
                    when thing.blocked_by_us then 'blocked by Roster'
                    when thing.blocked then 'banned by somebody else, which Roster leaves so'
                    else 'not blocked' end)
            end);
        if thing.call_id is not null then
            lines := lines || format('A call (%s) for it is under way; if its end is not recorded by %s, it is looked up.', thing.call_action, date_trunc('second', thing.call_deadline));
        end if;
        if thing.blocked and not thing.blocked_by_us and is_there and d.blocked is not true and thing.state = 'linked' then
            nexts := nexts || 'Lift the ban in Auth0''s dashboard, or block the row too.'::text;
        end if;
    end loop;
    if not exists (select from roster.accounts a where a.user_key = key) then
        lines := lines || 'No Auth0 account is linked.'::text;
    end if;

    -- Invitations.
    for thing in
        select i.* from roster.invitations i
        where m.user_key is not null and i.user_key = key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch
    loop
        lines := lines || format('Invitation %s: %s at %s.', thing.epoch, case thing.state
            when 'staged' then 'waits for a person' when 'sending' then 'asked for' when 'sent' then 'sent'
            else 'its outcome is unknown, so it is not sent again by itself' end, date_trunc('second', thing.changed_at));
    end loop;

    -- What was tried, latest first.
    for thing in select t.* from roster.attempts t where t.user_key = key order by t.id desc limit 3 loop
        lines := lines || format('Tried: %s at %s: %s%s.', thing.action, date_trunc('second', thing.started_at), thing.code, ' (status ' || thing.status || ')');
    end loop;
    if m.disputed is not null then
        lines := lines || format('Disputed: %s.', m.disputed);
    end if;
    if m.error_code is not null then
        lines := lines || format('Failing with %s (%s) since the last success, %s tries%s.', m.error_code, m.error_class, m.attempts,
            ', next at ' || date_trunc('second', m.next_attempt_at));
    end if;

    -- What is to be done, and by whom.
    for thing in select p.* from roster.plan p where p.user_key = key loop
        lines := lines || format('Planned: %s, %s%s%s%s.', thing.action, thing.state, ': ' || thing.reason, ', not before ' || date_trunc('second', thing.due_at),
            '; ' || roster.changes_in_words(nullif(thing.changes, '{}')));
        nexts := nexts || roster.next_step(key, thing.state, thing.action, coalesce(m.disputed, thing.reason));
    end loop;
    if cardinality(nexts) = 0 then
        nexts := array[case
            when m.disputed is not null then roster.next_step(key, 'disputed', null, m.disputed)
            when m.user_key is null and not is_there then 'Nothing.'
            else 'Nothing: Auth0 agrees with the row.'
        end];
    end if;
    return array_to_string(lines, E'\n') || E'\nNext: ' || (
        select string_agg(n.step, E'\nNext: ' order by n.first)
        from (select u.step, min(u.number) as first from unnest(nexts) with ordinality u (step, number) group by u.step) n
    );
end
$function$;

comment on function roster.explain_user(text, text) is 'What roster.explain says of one user key.';

create or replace function roster.explain(who text, permission text default null) returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
return (
    select string_agg(roster.explain_user(k.user_key, explain.permission), E'\n\n' order by k.user_key)
    from roster.find_users(explain.who) k (user_key)
);

comment on function roster.explain(text, text) is
    'Why a user (e-mail, key or Auth0 id) is as it is: row, permissions, Auth0, last attempts, plan, and the next step. With a permission: why it is granted or denied.';

revoke execute on function roster.explain(text, text), roster.explain_user(text, text), roster.next_step(text, text, text, text) from public;
