-- What operators look at: status, user_sync, problems, held.

-- As a reactor found them: who removes many waits for it to look at all of them, and that the guard holds them is told then.
create or replace view roster.held as
select s.user_key, s.auth0_user_id, s.email, s.action, s.reason, s.since, s.removed_by
from roster.stuck s
where s.state = 'held';

comment on view roster.held is
    'Removals that wait for a person, as the reactor found them: roster.release_held(''all'' or a user), roster.discard_held(…). In an open transaction: roster.plan.';

-- The slower of what was achieved and what the limit allows in the long run, since a burst does not last.
create or replace function roster.time_left(pending bigint, done bigint, seconds double precision, per_second double precision) returns interval
    language sql immutable parallel safe
return case
    when pending = 0 then interval '0'
    else make_interval(secs => pending / least(nullif(done, 0) / seconds, nullif(per_second, 0)))
end;

comment on function roster.time_left(bigint, bigint, double precision, double precision) is
    'How long so many users take, of whom so many were done in so many seconds, when so many calls a second are allowed. Null: nothing tells.';

create or replace view roster.capture_off as
select w.relation
from roster.watched w
where (
    select count(*) from pg_catalog.pg_trigger t
    where t.tgrelid = roster.oid_of(w.relation) and t.tgname in ('roster_insert', 'roster_update', 'roster_delete', 'roster_truncate')
        and t.tgenabled = 'A'
) <> 4;

comment on view roster.capture_off is
    'Watched tables of which a change trigger is missing or not always enabled, so that only the sweep sees their changes: select roster.attach();';

create or replace view roster.disputed as
select user_key from roster.mirror where disputed is not null
union
select user_key from roster.stuck where state = 'disputed';

comment on view roster.disputed is 'The users of whom a person has to say whose an account or an address is: roster.link().';

create or replace view roster.status as
select
    s.mode,
    s.mode_chosen_at is not null as mode_was_chosen,
    s.mode_chosen_by,
    s.paused_at,
    s.pause_reason,
    s.tenant,
    (select count(*) from roster.changes where folded_at is null) as unfolded,
    (select count(*) from roster.mirror where due) as pending,
    (select coalesce(jsonb_object_agg(b.lane, b.number), '{}') from (
        select m.lane::text, count(*) as number from roster.mirror m where m.due group by m.lane
    ) b) as pending_by_lane,
    (select min(due_since) from roster.mirror where due) as oldest_pending_since,
    (select count(*) from (select distinct h.user_key from roster.held h) held) as held,
    (select count(*) from (
        select user_key from roster.mirror where error_code is not null and error_class = 'data'
        union select user_key from roster.stuck where state = 'parked'
    ) parked) as parked,
    (select count(*) from roster.disputed) as disputed,
    (select count(*) from roster.mirror where error_code is not null and error_class in ('transient', 'throttled', 'config', 'conflict')) as failing,
    (select count(*) from roster.invitations where state = 'staged') as invitations_staged,
    (select count(*) from roster.reactors where stopped_at is null and heartbeat_at >= now() - roster.heartbeat_patience()) as reactors,
    (select max(last_listen_at) from roster.reactors where stopped_at is null) as last_listen_at,
    (select max(last_sweep_at) from roster.reactors) as last_sweep_at,
    (select coalesce(bool_or(bell_deaf), false) from roster.reactors where stopped_at is null and heartbeat_at > now() - interval '1 minute') as bell_deaf,
    (select budget from roster.reactors where stopped_at is null order by heartbeat_at desc limit 1) as budget,
    case when s.paused_at is null then roster.time_left((select count(*) from roster.mirror where due), pace.done, pace.seconds, pace.per_second) end as eta,
    case
        when s.paused_at is not null or not exists (select from roster.mirror where due) then null
        when pace.done > 0 and coalesce(pace.done / pace.seconds <= pace.per_second, true)
            then format('the pace of the last %s s: %s users', round(pace.seconds), pace.done)
        when pace.per_second > 0 then format('Auth0''s limit: %s calls a second are Roster''s', round(pace.per_second::numeric, 2))
    end as eta_from,
    (select coalesce(array_agg(o.relation order by o.relation), '{}') from roster.capture_off o) as capture_off,
    (select max(a.finished_at) from roster.audits a where a.state = 'finished') as last_audit_at,
    (select count(*) from roster.drift) as drift
from roster.settings s
cross join lateral (
    -- From the first call of the last minute on: what was before it is no part of this pace.
    select count(distinct d.user_key) as done, greatest(1, extract(epoch from now() - min(d.started_at)))::double precision as seconds,
        (
            select (b.class ->> 'per_second')::double precision
            from roster.reactors r cross join jsonb_array_elements(r.budget) b (class)
            where r.stopped_at is null and b.class ->> 'class' = 'write_users'
            order by r.heartbeat_at desc limit 1
        ) as per_second
    from roster.attempts d where d.code = 'ok' and d.started_at > now() - interval '1 minute'
) pace;

comment on view roster.status is 'Everything an operator asks first, in one row.';
comment on column roster.status.mode_was_chosen is 'False: nobody chose a mode yet, so Roster only observes. select roster.set_mode(''enforce'');';
comment on column roster.status.capture_off is 'Watched tables whose changes only the sweep sees: select roster.attach();';
comment on column roster.status.held is 'Users whose removal waits for a person: roster.held.';
comment on column roster.status.pending is 'Users the reactor still has to look at.';
comment on column roster.status.eta is
    'How long the users still to be looked at take at the pace named in eta_from; waits for a retry or for the pace of mails not counted. Null: nothing tells.';
comment on column roster.status.last_audit_at is 'When Auth0 itself was last compared with everybody. Null: never.';
comment on column roster.status.drift is 'What that found and nobody has judged yet: roster.drift.';
comment on column roster.status.eta_from is 'What eta is computed from: users done in the last minute, or, where that is slower, the calls Auth0 allows in the long run.';

-- In ordered parts, each with what it looks up bound to the key at hand, so that a page by key takes as many look-ups as it has rows; a
-- filter on key or address reaches the indexes of each.
create or replace view roster.user_sync as
(
    select
        d.user_key,
        d.email,
        d.role,
        case
            when m.user_key is null then 'not seen yet'
            when m.disputed is not null or stuck.state = 'disputed' then 'disputed'
            when m.error_class = 'data' or fault.code is not null then 'parked'
            when stuck.state = 'held' then 'held'
            when m.removal_verdict = 'kept' then 'kept'
            when m.due and m.error_code is not null then 'failing'
            when m.due then 'pending'
            when accounts.ids is null then 'not in Auth0'
            else 'synced'
        end as sync,
        accounts.ids as auth0_user_ids,
        case when m.due then m.due_since end as pending_since,
        m.synced_at as last_synced_at,
        coalesce(m.error_code, fault.code, stuck.code) as last_error,
        case
            when m.disputed = 'key_doubled' then 'mend roster.desired_users: it shows this key twice'
            when m.disputed is null and stuck.code = 'email_collides' then 'give one of the rows with this address another one'
            when m.disputed is not null or stuck.state = 'disputed' then 'decide with roster.link(who, auth0_user_id)'
            when m.error_class = 'data' or fault.code is not null then 'correct the row'
            when stuck.state = 'held' then 'decide with roster.release_held(who) or roster.discard_held(who)'
            when m.error_class = 'config' then 'check the credentials, the scopes and the connection of auth0.*'
            when m.error_class is not null then 'nothing: it is tried again'
        end as what_to_do
    from roster.desired_users d
    left join lateral (select * from roster.mirror m where m.user_key = d.user_key limit 1) m on true
    left join lateral (
        select array_agg(a.auth0_user_id order by a.origin, a.auth0_user_id) as ids
        from roster.accounts a where a.user_key = d.user_key and a.state = 'linked'
    ) accounts on true
    left join lateral (
        select s.state, s.code from roster.stuck s where s.user_key = d.user_key order by s.state limit 1
    ) stuck on true
    left join lateral (
        -- What the row itself lacks, before anything was tried.
        select case
            -- No account is made for who is blocked.
            when accounts.ids is null and d.blocked then null
            when accounts.ids is null and exists (
                select from roster.desired_users other where lower(other.email) = lower(d.email) and other.user_key <> d.user_key
            ) then coalesce(roster.row_fault(d.email), 'email_collides')
            else roster.row_fault(d.email)
        end as code
    ) fault on true
    order by d.user_key
)
union all
select * from (
    select
        m.user_key, null::text, null::text, 'removed', accounts.ids, case when m.due then m.due_since end, m.synced_at, m.error_code,
        case
            when held.is_so then 'decide with roster.release_held(who) or roster.discard_held(who)'
            when m.error_class = 'config' then 'check the credentials, the scopes and the connection of auth0.*'
            when m.error_class is not null then 'nothing: it is tried again'
        end
    from roster.mirror m
    left join lateral (
        select array_agg(a.auth0_user_id order by a.origin, a.auth0_user_id) as ids
        from roster.accounts a where a.user_key = m.user_key and a.state = 'linked'
    ) accounts on true
    cross join lateral (select exists (select from roster.stuck s where s.user_key = m.user_key and s.state = 'held') as is_so) held
    where m.removed_at is not null
        and not exists (select from roster.desired_users d where d.user_key = m.user_key offset 0)
    order by m.user_key
) removed
union all
select * from (
    -- Whose removal is still to be folded; of everybody, so only while there is such a change.
    select m.user_key, null::text, null::text, 'removed', null::text[], null::timestamptz, m.synced_at, m.error_code, 'nothing: it is about to be taken over'
    from roster.mirror m
    where m.removed_at is null
        and (select exists (
            select from roster.changes c
            where c.folded_at is null and (c.user_keys is null or c.op = 'delete' or c.keys_removed is not null)
        ))
        and not exists (select from roster.desired_users d where d.user_key = m.user_key offset 0)
    order by m.user_key
) going;

comment on view roster.user_sync is 'Each user: how it stands with Auth0, since when, and what to do.';

-- From what is noted down, without reading every user, so that it is looked at as often as somebody likes.
create or replace view roster.problems as
select 'disputed' as problem, m.disputed as code, count(*) as users, (array_agg(m.user_key order by m.user_key))[1:10] as examples, max(m.error_at) as last_at,
    case m.disputed
        when 'key_doubled' then 'roster.desired_users shows these keys more than once. Mend the view; the next sweep goes on with them.'
        else 'A person decides: select roster.link(who, auth0_user_id);'
    end as advice
from roster.mirror m where m.disputed is not null group by m.disputed
union all
select case m.error_class when 'data' then 'parked' else 'failing' end, m.error_code, count(*), (array_agg(m.user_key order by m.user_key))[1:10], max(m.error_at),
    case
    when m.error_code = 'database_refused' then 'The database refuses to plan or record these users: select user_key, error_detail from roster.mirror; they are tried again each minute.'
    when m.error_code = 'address_taken' and m.error_class = 'transient' then 'Another account in Auth0 has the address. It is tried again by itself, and parked if that stays so.'
    when m.error_code in ('conflict_unexplained', 'account_of_another_user') and m.error_class = 'transient'
        then 'Auth0 says that the account exists and shows none, or another user''s. It is tried again by itself, and disputed if that stays so.'
    else case m.error_class
        when 'data' then 'Auth0 refuses what the row says. Correct the row; it is tried again at once.'
        when 'config' then 'The tenant or the credentials refuse the call. Check the client, its scopes and auth0.connection.'
        when 'throttled' then 'Auth0''s rate limit; nothing to do, it goes on by itself.'
        when 'conflict' then 'An account is there already; it is being looked at.'
        else 'Auth0 could not be reached or failed; it is tried again by itself.'
    end end
from roster.mirror m where m.error_code is not null and m.disputed is null group by m.error_class, m.error_code
union all
-- What was planned and never tried.
select known.problem, known.code, count(distinct s.user_key), (array_agg(distinct s.user_key order by s.user_key))[1:10], max(s.noted_at), known.advice
from roster.stuck s
join (
    select 'row not acceptable' as problem, unnest('{email_missing, email_too_long, email_invalid}'::text[]) as code,
        'Auth0 cannot accept this address. Correct the row; it is tried again at once.' as advice
    union all values
        ('same address', 'email_collides', 'Other rows have the same address but for case. Change one of them.'),
        ('id changed by hand', 'auth0_user_id_disputed',
            'The row names another Auth0 account than the one that is linked. Put it back, or: select roster.link(who, auth0_user_id);'),
        ('address changed unseen', 'address_changed_unseen',
            'The address changed and no trigger saw how, so it may be another person. If it is the same one: select roster.link(who, auth0_user_id);')
) known on known.code = s.code
group by known.problem, known.code, known.advice
union all
select 'banned in Auth0', 'ban_made_elsewhere', count(*), (array_agg(a.user_key order by a.user_key))[1:10], max(a.observed_at),
    'Blocked in Auth0, but not by Roster, which leaves it so. Lift it in Auth0, or block the row too.'
from roster.accounts a join roster.desired_users d on d.user_key = a.user_key
where a.state = 'linked' and a.blocked and not a.blocked_by_us and d.blocked is not true having count(*) > 0
union all
select 'invitation unknown', 'invitation_unknown', count(*), (array_agg(i.user_key order by i.user_key))[1:10], max(i.changed_at),
    'The mail may have gone out; it is not sent twice by itself. Ask the person, or: select roster.invite(who);'
from roster.invitations i
-- One that was followed by another is settled.
join roster.mirror m on m.user_key = i.user_key and m.incarnation = i.incarnation and m.invite_epoch = i.epoch
where i.state = 'unknown' or i.state = 'sending' and i.changed_at < now() - interval '1 minute' having count(*) > 0
union all
select 'capture failed', c.relation, count(*), null, max(c.changed_at),
    'The change triggers of this table no longer fit it: ' || max(c.error) || '. Put them anew: select roster.watch(…);'
from roster.changes c where c.error is not null and c.changed_at > now() - interval '1 day' group by c.relation
union all
select 'changes held up', 'changes_held_up', count(distinct k.user_key), (array_agg(distinct k.user_key))[1:10], min(c.changed_at),
    'Somebody''s open transaction holds these users'' rows in roster.mirror, or no reactor takes changes over. Look for it: '
    'select pid, usename, state, xact_start, query from pg_stat_activity where xact_start < now() - interval ''1 minute'';'
from roster.changes c left join lateral unnest(c.user_keys) k (user_key) on true
where c.folded_at is null and c.changed_at < now() - interval '1 minute' having count(*) > 0
union all
select 'table not watched', o.relation, count(*), null, null,
    'Its change triggers are missing or not always enabled; only the sweep sees its changes. Put them back: select roster.attach();'
from roster.capture_off o group by o.relation
union all
select 'bell not heard', 'bell_deaf', count(*), null, max(r.heartbeat_at),
    'Test notifications do not come back: a transaction pooler? Set database.listen_url to a direct connection. Polling carries on.'
from roster.reactors r where r.bell_deaf and r.stopped_at is null and r.heartbeat_at > now() - interval '1 minute' having count(*) > 0
union all
select 'drift', replace(f.kind, ' ', '_'), count(*), (array_agg(coalesce(f.user_key, f.auth0_user_id) order by f.id))[1:10], max(f.found_at),
    case when roster.is_revertible(f.kind)
        then format('Auth0 was changed by somebody else. Have it mended: select roster.revert_drift(%L); or see roster.drift.', f.kind)
        else format('A person decides: select * from roster.adopt_drift(%L); or select roster.ignore_drift(%L);', f.kind, f.kind)
    end
from roster.drift f group by f.kind
union all
select 'audit failed', a.error_code, null, null, a.finished_at, 'The last audit found nothing, and changed nothing: ' || a.error_detail
from roster.audits a where a.state = 'failed' and a.id = (select max(l.id) from roster.audits l where l.state <> 'running')
union all
select 'settings differ', 'settings_differ', count(distinct r.settings), null, max(r.heartbeat_at), 'Reactors run with different configurations; the last one started wins. Make them the same.'
from roster.reactors r where r.stopped_at is null and r.heartbeat_at > now() - interval '1 minute' having count(distinct r.settings) > 1;

comment on view roster.problems is 'What is wrong, grouped by cause, with how many users, some of them, and what to do.';
