-- What the last audit found, and what a person says of it. Nothing here writes to Auth0: to revert is to have the users looked at
-- again, so that plan, guards and lanes do the mending; to adopt is to be told the statement that lets the rows say what Auth0 has.
create or replace view roster.drift as
select
    f.id, f.kind, f.user_key, f.auth0_user_id, f.email, f.changes, f.detail, f.planned, f.found_at,
    case f.kind
        when 'ban made elsewhere' then format('lift it in Auth0, or block the row: select * from roster.adopt_drift(%L);', '#' || f.id)
        when 'extra' then format('delete it in Auth0, or give it a row: select * from roster.adopt_drift(%L);', '#' || f.id)
        when 'duplicate' then format('decide whose it is: select * from roster.adopt_drift(%L);', '#' || f.id)
        when 'disputed' then format('decide which account it is: select * from roster.adopt_drift(%L);', '#' || f.id)
        else format('select roster.revert_drift(%L);', '#' || f.id)
    end as what_to_do
from roster.drift_found f
where f.verdict is null and f.audit = (select max(a.id) from roster.audits a where a.state = 'finished');

comment on view roster.drift is
    'What Auth0 really had otherwise than desired at the last finished audit, confirmed by a look at each account, and nobody has judged yet.';
comment on column roster.drift.changes is 'Fields that differ: "from" is what Auth0 has, "to" what Postgres says.';
comment on column roster.drift.planned is 'What roster.plan said of it when the audit ended. Null: nothing, since Roster took it for in sync.';
comment on column roster.drift.what_to_do is 'The next step.';

create or replace function roster.audit() returns text
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update roster.settings set audit_asked_at = now();
    insert into roster.changes (op, user_keys) values ('audit', '{}');
    return case
        when not exists (
            select from roster.reactors where stopped_at is null and heartbeat_at >= now() - roster.heartbeat_patience()
        ) then 'no reactor is running: the next one begins it'
        when exists (select from roster.settings where paused_at is not null) then 'a reactor begins it once the pause ends: select roster.resume();'
        else 'a reactor begins it within ten seconds: see roster.audits, then roster.drift'
    end;
end
$function$;

comment on function roster.audit() is
    'Has a reactor compare everybody with what Auth0 really has, now; writes nothing to Auth0. Progress in roster.audits, findings in roster.drift.';

-- The kinds that the plan can mend by itself once it knows of them. Bans of others and accounts of nobody are a person's.
create or replace function roster.is_revertible(kind text) returns boolean
    language sql immutable parallel safe
return kind in ('missing', 'changed', 'blocked mismatch', 'linked away');

comment on function roster.is_revertible(text) is 'Whether roster.revert_drift() can have this kind of drift mended.';

create or replace function roster.find_drift(which text) returns setof bigint
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
        select f.id from roster.drift f
        where which in ('all', '#' || f.id, f.kind, f.user_key, f.auth0_user_id) or lower(f.email) = lower(which);
    if not found then
        raise exception using errcode = 'RO020',
            message = format('no open drift is known as %L', which),
            detail = format('It was looked for as ''all'', #id, kind, e-mail address, user key and Auth0 user id among %s findings.',
                (select count(*) from roster.drift)),
            hint = 'select * from roster.drift;';
    end if;
end
$function$;

comment on function roster.find_drift(text) is 'The open findings meant by ''all'', #id, a kind, an e-mail address, a user key or an Auth0 id.';

create or replace function roster.revert_drift(which text) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    ids bigint[] := array(select roster.find_drift(which));
    keys text[];
begin
    ids := array(select f.id from roster.drift_found f where f.id = any (ids) and roster.is_revertible(f.kind));
    if cardinality(ids) = 0 then
        raise exception using errcode = 'RO021',
            message = format('nothing of %L can be reverted', which),
            detail = 'Bans that others made, accounts of nobody, duplicates and disputes are a person''s to settle.',
            hint = format('select * from roster.adopt_drift(%L);', which);
    end if;
    keys := array(select distinct f.user_key from roster.drift_found f where f.id = any (ids));
    -- As roster.resync(): Auth0 itself is looked at again, and what differs then is planned.
    update roster.accounts set observed_at = null where user_key = any (keys) and state = 'linked';
    insert into roster.changes (op, user_keys, reason) values ('revert_drift', keys, which);
    update roster.drift_found f set verdict = 'reverted', judged_at = now(), judged_by = session_user where f.id = any (ids);
    return cardinality(ids);
end
$function$;

comment on function roster.revert_drift(text) is
    'Has drift mended (''all'', #id, a kind, or a user): its users are looked at again, and the plan with its guards does the rest. Says how many findings.';

create or replace function roster.ignore_drift(which text) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    ids bigint[] := array(select roster.find_drift(which));
begin
    update roster.drift_found f set verdict = 'ignored', judged_at = now(), judged_by = session_user where f.id = any (ids);
    insert into roster.changes (op, user_keys, reason) values ('ignore_drift', '{}', which);
    return cardinality(ids);
end
$function$;

comment on function roster.ignore_drift(text) is
    'Leaves drift as it is (''all'', #id, a kind, or a user): audits do not show it again while it stays the same. Says how many findings.';

create or replace function roster.adopt_drift(which text) returns table (id bigint, statement text)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    found roster.drift_found;
    users text;
    key text;
    named text[];
    -- What the table calls what users have.
    called jsonb;
    mine text;
    field record;
    sets text[];
    given text[];
    has text[];
    wants text[];
begin
    select w.relation, w.key_column into users, key from roster.watched w where w.of_users order by w.relation limit 1;
    users := coalesce(users, 'your_users_table');
    key := coalesce(key, 'its_key');
    called := '{"email": "email", "name": "name", "role": "role", "blocked": "blocked", "auth0_user_id": "auth0_user_id"}'
        || coalesce((select s.import_columns from roster.settings s where s.import_into = users), '{}');
    named := array(select attname::text from pg_attribute where attrelid = roster.oid_of(users) and attnum > 0 and not attisdropped);
    for found in
        select f.* from roster.drift_found f where f.id in (select roster.find_drift(which)) order by f.id
    loop
        id := found.id;
        mine := format('where %I = %L', key, found.user_key);
        case
            when found.kind = 'missing' and found.detail is not null then
                statement := format('-- %s of user %s is gone: select roster.revert_drift(%L); has it forgotten', found.detail, found.user_key, '#' || found.id);
                return next;
            when found.kind = 'missing' then
                statement := format('delete from %s %s;', users, mine);
                return next;
            when found.kind = 'ban made elsewhere' and called ->> 'blocked' <> all (named) then
                statement := format('-- %s has no column %s: say in it, as roster.desired_users reads it, that user %s is blocked', users, called ->> 'blocked', found.user_key);
                return next;
            when found.kind = 'ban made elsewhere' then
                statement := format('update %s set %I = true %s;', users, called ->> 'blocked', mine);
                return next;
            when found.kind = 'blocked mismatch' and found.detail = 'its user is removed' then
                statement := format('insert into %s (%I) values (%L); -- the same person again, with what else the row needs', users, called ->> 'email', found.email);
                return next;
            when found.kind = 'linked away' then
                statement := format('select roster.link(%L, %L);', found.user_key, found.detail);
                return next;
            when found.kind = 'duplicate' then
                statement := case when found.detail like 'a verified account elsewhere%'
                    then format('select roster.follow(%L, %L, %L); -- a further log-in of the same person', found.user_key, found.auth0_user_id, found.email)
                    else format('select roster.link(%L, %L); -- instead of the account that is linked now', found.user_key, found.auth0_user_id)
                end;
                return next;
            when found.kind = 'disputed' then
                statement := case when found.auth0_user_id is null
                    then format('-- user %s is disputed (%s): find the account in Auth0, then select roster.link(%L, its id);',
                        found.user_key, found.detail, found.user_key)
                    else format('select roster.link(%L, %L);', found.user_key, found.auth0_user_id)
                end;
                return next;
            when found.kind = 'extra' then
                given := '{}';
                sets := '{}';
                for field in
                    select * from (values
                        ('email', to_jsonb(found.email)), ('name', found.changes #> '{name,from}'),
                        ('role', found.changes #> '{app_metadata.role,from}'), ('blocked', found.changes #> '{blocked,from}'),
                        ('auth0_user_id', to_jsonb(found.auth0_user_id))
                    ) v (name, value)
                    where v.value is not null and (v.name = 'email' or called ->> v.name = any (named))
                loop
                    given := given || format('%I', called ->> field.name);
                    sets := sets || format('%L', field.value #>> '{}');
                end loop;
                statement := format('insert into %s (%s) values (%s);', users, array_to_string(given, ', '), array_to_string(sets, ', '));
                return next;
                -- An account whose address is not verified is nobody's until a person says so.
                statement := format('select roster.link(%L, %L);', found.email, found.auth0_user_id);
                return next;
            else
                sets := '{}';
                for field in
                    select c.key as name, coalesce(called ->> replace(c.key, 'app_metadata.', ''), replace(c.key, 'app_metadata.', '')) as column_name, c.value -> 'from' as value, c.value -> 'to' as desired
                    from jsonb_each(found.changes) c order by c.key
                loop
                    if field.name = 'app_metadata.permissions' and to_regclass('public.user_permissions') is not null then
                        has := array(select jsonb_array_elements_text(case jsonb_typeof(field.value) when 'array' then field.value else '[]' end));
                        wants := array(select jsonb_array_elements_text(case jsonb_typeof(field.desired) when 'array' then field.desired else '[]' end));
                        for statement in
                            select case when p.permission = any (has)
                                then format('insert into public.user_permissions (user_id, permission) values (%L, %L);', found.user_key, p.permission)
                                else format('delete from public.user_permissions where user_id = %L and permission = %L; -- unless the role has it',
                                    found.user_key, p.permission)
                            end
                            from (select unnest(has) as permission union select unnest(wants)) p
                            where (p.permission = any (has)) <> (p.permission = any (wants))
                            order by p.permission
                        loop
                            return next;
                        end loop;
                    elsif field.column_name = any (named) and (field.value #>> '{}' is not null or field.name = 'name') then
                        sets := sets || format('%I = %L', field.column_name, field.value #>> '{}');
                    else
                        statement := format('-- %s: Auth0 has %s; roster.desired_users says %s', field.name,
                            coalesce(field.value::text, 'nothing'), coalesce(field.desired::text, 'nothing'));
                        return next;
                    end if;
                end loop;
                if cardinality(sets) > 0 then
                    statement := format('update %s set %s %s;', users, array_to_string(sets, ', '), mine);
                    return next;
                end if;
        end case;
    end loop;
end
$function$;

comment on function roster.adopt_drift(text) is
    'The statements that would let the rows say what Auth0 has (''all'', #id, a kind, or a user). It runs none of them.';

revoke execute on function
    roster.audit(), roster.find_drift(text), roster.revert_drift(text), roster.ignore_drift(text), roster.adopt_drift(text)
from public;
