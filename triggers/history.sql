-- History: who changed whom, with what tool and why; what Auth0 was told of it and when; and how long somebody who is to be out could
-- still get in.
--
-- roster.changes is the writers' side (kept history.keep), roster.attempts Auth0's. An attempt carries since when its user was due,
-- which is when the change was made that it answers, so the two are joined without guessing.
-- One member of a plan's changes as a word: from the one value to the other.
create or replace function roster.changes_in_words(changes jsonb) returns text
    language sql immutable parallel safe
return (
    select string_agg(format('%s from %s to %s', c.key, coalesce(c.value -> 'from', 'null'), coalesce(c.value -> 'to', 'null')), ', ' order by c.key)
    from jsonb_each(changes) c (key, value)
);

comment on function roster.changes_in_words(jsonb) is 'The fields that are to change, each with the value it has and the one it is to have.';

create or replace view roster.history as
select c.id, c.changed_at, c.changed_by, c.application_name, c.client_addr, c.reason, c.op, c.relation, c.user_keys, c.txid, c.folded_at, c.actor
from roster.changes c;

comment on view roster.history is 'Who changed whom, when, with what tool and why. For one user: roster.history_of(who); by transaction: roster.transactions.';

create or replace view roster.transactions as
select
    c.txid,
    min(c.changed_at) as changed_at,
    max(c.changed_by) as changed_by,
    max(c.application_name) as application_name,
    max(c.client_addr) as client_addr,
    string_agg(distinct c.reason, '; ') as reason,
    count(*) as statements,
    string_agg(distinct concat_ws(' ', c.op, c.relation), ', ') as did,
    sum(cardinality(c.user_keys)) as user_keys,
    bool_or(c.user_keys is null) as concerns_everybody,
    max(c.folded_at) as folded_at,
    max(c.actor) as actor
from roster.changes c
group by c.txid
-- The newest, as the view is mostly asked for, are read from the end of the index then.
order by c.txid desc;

comment on view roster.transactions is 'Who changed what in each transaction, newest: order by txid desc limit 50. What came of one: roster.history_of_transaction(txid).';
comment on column roster.transactions.user_keys is 'Keys named, once for each statement that named them. Null: no statement could name any.';
comment on column roster.transactions.folded_at is 'When the reactor had taken the last of its statements over. Null: none yet.';

-- In parts, each of which an index answers: of years of changes few concern one user.
create or replace function roster.changes_of(user_key text) returns setof roster.changes
    language sql stable
begin atomic
    (select * from roster.changes c where c.folded_at is not null and c.user_keys @> array[changes_of.user_key] offset 0)
    union all
    select * from roster.changes c where c.folded_at is not null and c.user_keys is null
    union all
    select * from roster.changes c where c.folded_at is null and (c.user_keys is null or c.user_keys @> array[changes_of.user_key]);
end;

comment on function roster.changes_of(text) is
    'The changes that concern a user key, in no order. One of everybody, such as a role''s permissions, is of each user.';

create or replace function roster.history_of(who text)
    returns table (at timestamptz, user_key text, what text, by text, tool text, detail text, outcome text, txid xid8)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $function$
    with keys as materialized (select k.user_key from roster.find_users(history_of.who) k (user_key))
    select c.changed_at, k.user_key, concat_ws(' ', c.op, c.relation), coalesce(c.actor || ' by ' || c.changed_by, c.changed_by), nullif(c.application_name, ''), c.reason,
        case when c.folded_at is null then 'not taken over yet' end, c.txid
    from keys k cross join roster.changes_of(k.user_key) c
    union all
    select t.started_at, t.user_key, t.action, 'roster', t.auth0_user_id, roster.changes_in_words(nullif(t.changes, '{}')),
        concat_ws(' ', t.code, t.status, 'after ' || date_trunc('milliseconds', t.started_at + make_interval(secs => t.duration_ms / 1000.0) - t.due_since)), null
    from keys k join roster.attempts t on t.user_key = k.user_key
    order by 1
$function$;

comment on function roster.history_of(text) is
    'Everything that happened to a user (e-mail, key or Auth0 id) in order: changes with who and what tool, and each call to Auth0 with what it changed, its outcome and how long after the change it ended.';

-- Of a transaction of many users a page at a time, so that one that concerns everybody can be looked at too.
drop function if exists roster.history_of_transaction(xid8);

create or replace function roster.history_of_transaction(txid xid8, after_key text default '', most integer default null)
    returns table (user_key text, email text, action text, detail text, outcome text, told_at timestamptz, after interval)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $function$
    with concerned as materialized (
        -- Sorted by bytes, which is quicker.
        select k.user_key collate "default" as user_key, max(k.changed_at) as changed_at
        from (
            select key collate "C" as user_key, c.changed_at
            from roster.changes c cross join unnest(c.user_keys) u (key)
            where c.txid = history_of_transaction.txid
        ) k
        where k.user_key > history_of_transaction.after_key
        group by k.user_key
        order by k.user_key limit history_of_transaction.most
    )
    select s.user_key, coalesce(d.email, m.email), t.action, roster.changes_in_words(nullif(t.changes, '{}')),
        case when t.id is null then case when m.due then 'pending' else 'nothing to tell Auth0' end else concat_ws(' ', t.code, t.status) end,
        t.ended_at, t.ended_at - s.changed_at
    from concerned s
    left join roster.mirror m on m.user_key = s.user_key
    left join lateral (select v.email from roster.desired_users v where v.user_key = s.user_key limit 1) d on true
    left join lateral (
        -- The first call that ended well after the change is the one that told of it.
        select a.*, a.started_at + make_interval(secs => a.duration_ms / 1000.0) as ended_at
        from roster.attempts a
        where a.user_key = s.user_key and a.started_at >= s.changed_at and a.action <> 'look'
        order by a.code <> 'ok', a.id limit 1
    ) t on true
    order by s.user_key collate "C"
$function$;

comment on function roster.history_of_transaction(xid8, text, integer) is
    'What Auth0 was told because of a transaction, user by user, and how long after the change: of the users after this key, so many. Transactions: roster.transactions.';

-- Authorization ends with the commit: the server reads the row. Who asks nobody but trusts a token's own claims lets its bearer in
-- until the last token that could be had before the block has expired.
create or replace view roster.removals as
select
    r.user_key, r.auth0_user_id, r.email, r.because, r.committed_at, r.committed_at as denied_at, r.blocked_at,
    r.blocked_at - r.committed_at as exposure,
    r.blocked_at + s.token_lifetime as last_token_expires_at
from (
    select t.user_key, t.auth0_user_id, coalesce(a.email, m.email) as email,
        case
            when m.removed_at is not null then format('the row is gone (%s)', m.removed_by)
            when exists (select from roster.desired_users d where d.user_key = t.user_key and d.blocked) then 'the row is blocked'
            else 'the row was gone or blocked, and is there again'
        end as because,
        coalesce(t.due_since, t.started_at) as committed_at,
        t.started_at + make_interval(secs => t.duration_ms / 1000.0) as blocked_at
    from roster.attempts t
    left join roster.mirror m on m.user_key = t.user_key
    left join roster.accounts a on a.auth0_user_id = t.auth0_user_id
    where t.action = 'block' and t.code = 'ok'
    union all
    -- Not blocked yet, whether it is due, held, or waits for another mode; without the plan, which takes long where they are many.
    select a.user_key, a.auth0_user_id, coalesce(a.email, m.email),
        coalesce(stuck.reason, case
            when d.user_key is null then format('the row is gone (%s)', coalesce(m.removed_by, 'not folded yet'))
            when a.incarnation <> m.incarnation then 'the key now means another person'
            else 'the row is blocked'
        end),
        coalesce(m.removed_at, m.due_since), null
    from (
        select g.user_key from roster.mirror g where g.removed_at is not null
        union
        select g.user_key from roster.mirror g where g.incarnation > 1
        union
        select b.user_key from roster.desired_users b where b.blocked
        union
        select gone.user_key
        from roster.changes c cross join unnest(case c.op when 'delete' then c.user_keys else c.keys_removed end) gone (user_key)
        where c.folded_at is null
    ) k
    join roster.mirror m on m.user_key = k.user_key
    join roster.accounts a on a.user_key = k.user_key and a.state = 'linked' and not a.blocked
    left join roster.desired_users d on d.user_key = k.user_key
    left join lateral (
        select s.reason from roster.stuck s
        where s.user_key = a.user_key and s.auth0_user_id = a.auth0_user_id and s.state = 'held' limit 1
    ) stuck on true
    where d.user_key is null or a.incarnation <> m.incarnation or d.blocked
) r
cross join roster.settings s;

comment on view roster.removals is
    'Each removal and how long it took: when it was committed, from when on authorization refused, when Auth0 had the block, and when the last token issued before that has expired.';
comment on column roster.removals.denied_at is 'Authorization look-ups refuse from the commit on.';
comment on column roster.removals.blocked_at is 'When Auth0 had confirmed the block. Null: not yet; roster.held or roster.plan say why.';
comment on column roster.removals.exposure is 'How long Auth0 could still issue tokens. Null: it still can.';
comment on column roster.removals.last_token_expires_at is
    'Whoever trusts tokens without asking Roster lets this person in until then, by removal.token_lifetime. Null: not blocked yet.';

revoke execute on function roster.changes_of(text), roster.history_of(text), roster.history_of_transaction(xid8, text, integer) from public;
