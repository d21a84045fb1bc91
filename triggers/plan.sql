-- The planner: desired against observed, as rows. The reactor executes exactly those that are `due`; everybody else reads the same rows.
--
-- Three kinds of rows make a plan, a view each: what an account needs (plan_of_accounts), what a user without an account needs
-- (plan_of_users), and the mails still wanted (plan_of_invitations). roster.plan gives each its state. A filter on user_key reaches
-- the indexes of all of them, so the plan of one user is quick, also inside a DBA's open transaction.
--
-- Each `offset 0` keeps the planner from writing a computed value out again at each mention of it: without them the plan of one user
-- takes five times as long. The functions that are one expression carry no SET clause, since only then are they inlined; their names
-- were bound when they were created, whatever the search path. What is hardly ever asked is a function of its own, so that it costs
-- nothing until it is (addresses.sql); the `limit 1` around it keeps its condition in front of it.

-- Why Auth0 could not accept this row; null if it could. Limits: Auth0's user profile structure (address at most 254, local part 64).
create or replace function roster.row_fault(email text) returns text
    language sql immutable parallel safe
return case
    when email is null or email = '' then 'email_missing'
    when length(email) > 254 or length(split_part(email, '@', 1)) > 64 then 'email_too_long'
    when email !~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+\.[^@[:space:][:cntrl:].]+$' then 'email_invalid'
end;

comment on function roster.row_fault(text) is 'Why Auth0 could not accept a row with this address, as an error code. Null: it could.';

-- Desired top-level metadata keys that differ from the observed ones, as {"app_metadata.role": {"from": …, "to": …}}.
create or replace function roster.metadata_changes(prefix text, desired jsonb, observed jsonb) returns jsonb
    language sql immutable parallel safe
return (
    select coalesce(jsonb_object_agg(prefix || k.key, jsonb_build_object('from', observed -> k.key, 'to', desired -> k.key)), '{}')
    from jsonb_object_keys(observed || desired) k (key)
    where (desired -> k.key) is distinct from (observed -> k.key)
);

comment on function roster.metadata_changes(text, jsonb, jsonb) is 'The metadata keys that differ, each with "from" and "to".';

-- What app_metadata is to hold for a user: the view's own column, role and permissions.
create or replace function roster.owned_app_metadata(app_metadata jsonb, role text, permissions text[]) returns jsonb
    language sql immutable parallel safe
return jsonb_strip_nulls(
    coalesce(app_metadata, '{}') || jsonb_build_object('role', role, 'permissions', to_jsonb(coalesce(permissions, '{}')))
);

comment on function roster.owned_app_metadata(jsonb, text, text[]) is 'What app_metadata is to hold for a user: the view''s own keys, role and permissions.';

-- Of observed metadata what Roster owns: some fixed keys, the keys that are desired, and those that were owned before.
create or replace function roster.owned_part(observed jsonb, fixed text[], before jsonb, desired jsonb) returns jsonb
    language sql immutable parallel safe
return case
    -- All of them, mostly.
    when observed - fixed = '{}' then observed
    else (
        select coalesce(jsonb_object_agg(o.key, o.value), '{}')
        from jsonb_each(observed) o (key, value)
        where o.key = any (fixed) or before ? o.key or coalesce(desired, '{}') ? o.key
    )
end;

comment on function roster.owned_part(jsonb, text[], jsonb, jsonb) is 'The top-level keys of observed metadata that Roster owns.';

-- Asked as `in (select …)`, without reference to the user at hand, so that it is read once for a whole plan: one change may name
-- 100 000 keys.
create or replace view roster.news as
select k.user_key
from roster.changes c cross join unnest(c.user_keys) k (user_key)
where c.folded_at is null and k.user_key is not null;

comment on view roster.news is 'The users that changes not folded yet concern; part of roster.plan.';

create or replace view roster.arrivals as
select k.user_key
from roster.changes c cross join unnest(case when c.op = 'insert' then c.user_keys else c.keys_added end) k (user_key)
where c.folded_at is null and c.of_users and k.user_key is not null;

comment on view roster.arrivals is 'Keys that came with changes not folded yet: whom they mean is said by fold; part of roster.plan.';

create or replace function roster.is_of_the_past(auth0_user_id text, user_key text) returns boolean
    language sql stable parallel safe
return exists (
    select from roster.accounts gone
    where gone.auth0_user_id = is_of_the_past.auth0_user_id and gone.state = 'gone' and (
        gone.user_key = is_of_the_past.user_key
        or not exists (select from roster.desired_users d where d.user_key = gone.user_key)
    )
);

comment on function roster.is_of_the_past(text, text) is
    'Whether this id, found in the row of this user, is that of an account that is gone: the user''s own, such as one linked into another, or that of a key that is nobody''s any more. It claims nothing and may be overwritten.';

create or replace view roster.plan_of_accounts as
select
    a.user_key,
    a.auth0_user_id,
    case when live.live then d.email else a.email end as email,
    what.action,
    case
        when what.action in ('block', 'delete', 'move aside', 'rekey') then 'removal'
        when what.action = 'create' then 'creation'
        when what.action = 'look' and not live.live then 'removal'
        else 'update'
    end as lane,
    case
        when claim.is_other and what.action not in ('look', 'block') then 'disputed'
        when live.live and what.action not in ('look', 'block') and fault.code is not null then 'parked'
        when what.action not in ('look', 'block') and address.is_unseen then 'disputed'
        when holder.user_key is not null and holder.wants_it_too then 'disputed'
    end as verdict,
    case
        when a.call_id is not null and a.call_deadline > now() then 'a call is in flight'
        when holder.user_key is not null and not breaker.breaks then format('the address is still held by user %s', holder.user_key)
        when address.is_of_an_arrival and what.action not in ('look', 'block') then 'whom the key means is not known until its change is folded'
        -- Before that, an open call has to be settled.
        when taker.user_key is not null and what.action <> 'look' then format('user %s takes this account over', taker.user_key)
        when what.action in ('move aside', 'rekey') and claimant.user_key in (select n.user_key from roster.arrivals n)
            then format('whom key %s means is not known until its change is folded', claimant.user_key)
        when what.action = 'rekey' and not exists (select from roster.mirror k where k.user_key = claimant.user_key)
            then format('user %s is not known yet', claimant.user_key)
        when what.action = 'delete' and deleted.at > now() then 'the account is deleted later'
        when what.action = 'delete' then (
            select format('user %s claims this account', h.user_key)
            from roster.account_heir(a.auth0_user_id, a.email) h (user_key)
            where h.user_key is not null
        )
    end as waits_for,
    case
        when a.call_id is not null then a.call_deadline
        when what.action = 'delete' then deleted.at
    end as due_at,
    case
        when a.call_id is not null then format('the answer to %s was not recorded', a.call_action)
        when a.state = 'missing' then 'Auth0 does not find the account'
        when what.action = 'look' and m.conflict then 'Auth0 said that the account exists already'
        when what.action = 'look' then 'Auth0 has not been looked at yet'
        when what.action in ('block', 'delete') and not live.live then
            case when d.user_key is not null and a.incarnation <> m.incarnation then 'the key now means another person'
                else format('the row is gone (%s)', coalesce(m.removed_by, 'not folded yet')) end
        when what.action = 'block' then 'the row is blocked'
        when what.action = 'move aside' and live.live then 'addresses are exchanged in a circle'
        when what.action = 'move aside' then 'a live user claims the address'
        when what.action = 'rekey' then format('a log-in of user %s, who has the address now', claimant.user_key)
        when claim.is_other then format('the row names %s', d.auth0_user_id)
        when fault.code is not null then fault.code
        when address.is_unseen then 'the address changed and nobody saw how'
        when holder.wants_it_too then format('user %s has the same address', holder.user_key)
    end as reason,
    -- In the order of the verdicts.
    case
        when claim.is_other then 'auth0_user_id_disputed'
        when fault.code is not null then fault.code
        when address.is_unseen then 'address_changed_unseen'
        when holder.wants_it_too then 'email_collides'
    end as code,
    case
        when what.action = 'block' then jsonb_build_object('blocked', jsonb_build_object('from', false, 'to', true))
            -- Nothing that is in doubt, or that may be what failed the last time, may keep a block from going through.
            || case when live.live and fault.code is null and not address.is_unseen and not address.is_of_an_arrival
                and m.error_code is null then wanted.changes else '{}' end
        when what.action = 'unblock' then jsonb_build_object('blocked', jsonb_build_object('from', true, 'to', false)) || wanted.changes
        when what.action = 'move aside' then jsonb_build_object('email', jsonb_build_object(
            'from', a.email, 'to', format('aside-%s@roster.invalid', md5(a.auth0_user_id))))
        when what.action in ('create', 'update') then wanted.changes
        else '{}'
    end as changes,
    what.action in ('block', 'delete') as is_removal,
    a.role_removed as removed_role,
    m.removed_by,
    m.removal_verdict,
    m.disputed,
    m.error_class,
    m.error_code,
    m.next_attempt_at,
    m.lease_by,
    m.lease_until
from (select *, app_metadata ->> 'role' as role_removed, origin <> 'further' and auth0_user_id like 'auth0|%' as is_named_by_us from roster.accounts where state <> 'gone') a
join roster.mirror m on m.user_key = a.user_key
left join roster.desired_users d on d.user_key = a.user_key
cross join roster.settings s
cross join lateral (
    select d.user_key is not null and a.incarnation = m.incarnation as live
    offset 0
) live
cross join lateral (
    select
        case when live.live then roster.owned_app_metadata(d.app_metadata, d.role, d.permissions) end as app_metadata,
        case when live.live then jsonb_strip_nulls(coalesce(d.user_metadata, '{}')) end as user_metadata
    offset 0
) owned
-- The fields of a live account that are not as they should be. Address and name of a social log-in are not ours to change.
cross join lateral (
    select
        case when not live.live then '{}'::jsonb else
            case when a.is_named_by_us and lower(d.email) is distinct from lower(a.email) or a.state = 'chosen'
                then jsonb_build_object('email', jsonb_build_object('from', case when a.state <> 'chosen' then a.email end, 'to', lower(d.email))) else '{}' end
            || case when a.is_named_by_us and d.name <> '' and (left(d.name, 150) is distinct from a.name or a.state = 'chosen')
                then jsonb_build_object('name', jsonb_build_object('from', case when a.state <> 'chosen' then a.name end, 'to', left(d.name, 150))) else '{}' end
            || case when owned.app_metadata <> a.app_metadata then roster.metadata_changes('app_metadata.', owned.app_metadata, a.app_metadata) else '{}' end
            || case when owned.user_metadata <> a.user_metadata then roster.metadata_changes('user_metadata.', owned.user_metadata, a.user_metadata) else '{}' end
        end as changes
    offset 0
) wanted
-- A live user of another key who would take this account over, asked only where it would otherwise be removed. A further one goes by
-- its verified address, as at log-in.
left join lateral (
    select c.* from roster.account_claimant(a.auth0_user_id, a.email) c
    where not live.live and (a.origin <> 'further' or a.email_verified)
    limit 1
) claimant on true
-- Counted from the row's end or the block, whichever came last; a past person of a live key has only the block.
cross join lateral (
    select greatest(a.removed_at, m.removed_at) + s.delete_after as at
    offset 0
) deleted
cross join lateral (
    select case when not claimant.has_an_account and a.origin <> 'further' then claimant.user_key end as user_key
    offset 0
) taker
-- Does the row name another account?
cross join lateral (
    select case when live.live and a.origin <> 'further' and d.auth0_user_id <> a.auth0_user_id
        then not roster.is_of_the_past(d.auth0_user_id, a.user_key) else false end as is_other
    offset 0
) claim
cross join lateral (
    select case
        when a.call_id is not null or a.state = 'missing' then 'look'
        when a.state = 'chosen' then case when live.live and d.blocked is not true then case when m.look_wanted then 'look' else 'create' end end
        when a.observed_at is null then 'look'
        when not live.live then
            case
                when a.origin = 'further' and claimant.user_key is not null then 'rekey'
                when not a.blocked then 'block'
                when claimant.has_an_account and lower(a.email) not like 'aside-%@roster.invalid' then 'move aside'
                when deleted.at is not null and a.origin = 'made' and a.blocked_by_us then 'delete'
            end
        when d.blocked and not a.blocked then 'block'
        when d.blocked is not true and a.blocked and a.blocked_by_us then 'unblock'
        when wanted.changes <> '{}' then 'update'
        when claim.is_other then 'link'
    end as action
    offset 0
) naive
-- Who of ours still holds the address this account is to get, asked only where the address changes.
left join lateral (
    select h.* from roster.address_holder(d.email, a.auth0_user_id) h
    where naive.action in ('create', 'update', 'unblock') and wanted.changes ? 'email'
    limit 1
) holder on true
cross join lateral (
    select case when holder.user_key is null or holder.wants_it_too or a.state = 'chosen' then false else
        coalesce(a.auth0_user_id = (roster.address_cycle(a.auth0_user_id))[1], false)
    end as breaks
    offset 0
) breaker
cross join lateral (
    select case when breaker.breaks then 'move aside' else naive.action end as action
    offset 0
) what
-- Is the row's address other than the one last folded: without a change that tells of it, or with one that may make the key
-- another person's?
cross join lateral (
    select
        case when live.live and m.email is distinct from lower(d.email) then a.user_key not in (select n.user_key from roster.news n) else false end
            as is_unseen,
        case when live.live and m.email is distinct from lower(d.email) then a.user_key in (select n.user_key from roster.arrivals n) else false end
            as is_of_an_arrival
    offset 0
) address
-- Asked of rows with something to do only: to read each address of a large table closely takes a third of its plan's time.
cross join lateral (
    select case when live.live and a.origin <> 'further' then roster.row_fault(d.email) end as code
    offset 0
) fault
where what.action is not null;

comment on view roster.plan_of_accounts is 'What each linked account needs; part of roster.plan.';

create or replace view roster.plan_of_users as
select
    d.user_key,
    coalesce(rekeyed.auth0_user_id, d.auth0_user_id) as auth0_user_id,
    d.email,
    what.action,
    case when what.action = 'rekey' then 'removal' else 'creation' end as lane,
    case
        when what.action = 'create' and fault.fault is not null then 'parked'
        when what.action in ('create', 'look') and holder.wants_it_too then 'disputed'
        when what.action = 'create' and namesake.user_key is not null then 'disputed'
    end as verdict,
    case
        when what.action = 'rekey' and exists (
            select from roster.accounts x join roster.accounts a on a.user_key = x.user_key and a.incarnation = x.incarnation
            where x.auth0_user_id = rekeyed.auth0_user_id and a.call_id is not null
        ) then format('a call for the account of user %s is in flight', rekeyed.user_key)
        when what.action = 'create' and holder.user_key is not null then format('the address is still held by user %s', holder.user_key)
    end as waits_for,
    null::timestamptz as due_at,
    case
        when what.action = 'rekey' then format('takes over the account of user %s', rekeyed.user_key)
        when what.action = 'look' then 'Auth0 has not been looked at yet'
        when fault.fault is not null then fault.fault
        when holder.wants_it_too then format('user %s has the same address', holder.user_key)
        when namesake.user_key is not null then format('user %s has the same address', namesake.user_key)
    end as reason,
    coalesce(case when what.action = 'create' then fault.fault end, 'email_collides') as code,
    case when what.action = 'create' then
        jsonb_build_object('email', jsonb_build_object('from', null, 'to', lower(d.email)))
        || case when d.name <> '' then jsonb_build_object('name', jsonb_build_object('from', null, 'to', left(d.name, 150))) else '{}' end
        || roster.metadata_changes('app_metadata.', roster.owned_app_metadata(d.app_metadata, d.role, d.permissions), '{}')
        || roster.metadata_changes('user_metadata.', jsonb_strip_nulls(coalesce(d.user_metadata, '{}')), '{}')
    else '{}' end as changes,
    false as is_removal,
    null::text as removed_role,
    m.removed_by,
    m.removal_verdict,
    m.disputed,
    m.error_class,
    m.error_code,
    m.next_attempt_at,
    m.lease_by,
    m.lease_until
from roster.desired_users d
cross join roster.settings s
left join roster.mirror m on m.user_key = d.user_key
-- Nothing here for who has an account.
left join roster.accounts own on own.user_key = d.user_key and own.incarnation = coalesce(m.incarnation, 1)
    and own.origin <> 'further' and own.state <> 'gone'
-- An account that belongs to nobody any more (its key has no row, or means another person now) with this id or this address.
left join lateral (
    select o.* from roster.account_left_over(d.auth0_user_id, d.email) o where own.user_key is null
    limit 1
) rekeyed on true
cross join lateral (
    select case
        when rekeyed.auth0_user_id is not null then 'rekey'
        -- Somebody may have an account already, which is to be blocked then; none is made for it.
        when d.blocked then case when m.look_wanted then 'look' end
        when coalesce(m.look_wanted, d.auth0_user_id is not null or s.mode = 'observe' or d.user_key not in (
            -- Nobody saw this row being inserted.
            select n.user_key from roster.news n
        )) then 'look'
        else 'create'
    end as action
    offset 0
) what
cross join lateral (select roster.row_fault(d.email) as fault offset 0) fault
left join lateral (
    select h.* from roster.address_holder(d.email, null) h where what.action in ('create', 'look')
    limit 1
) holder on true
-- Another row with the same address that has no account either: neither may be created first by chance.
cross join lateral (
    select case when what.action = 'create' then roster.namesake(d.email, d.user_key) end as user_key
    offset 0
) namesake
where what.action is not null and own.user_key is null;

comment on view roster.plan_of_users is 'What each user without an account needs; part of roster.plan.';

create or replace view roster.plan_of_invitations as
select
    m.user_key,
    a.auth0_user_id,
    d.email,
    'invite' as action,
    'creation' as lane,
    case
        when i.state = 'staged' then 'staged'
        when corrected.is_so then null
        when i.state = 'unknown' or i.state = 'sending' and i.changed_at < now() - interval '1 minute' then 'parked'
    end as verdict,
    case
        when i.state = 'sending' and not corrected.is_so then 'the mail is being asked for'
        when lower(a.email) is distinct from lower(d.email) then 'the address is changing'
    end as waits_for,
    null::timestamptz as due_at,
    case
        when i.state = 'staged' then 'released by roster.invite()'
        when corrected.is_so then 'the address was corrected before the first log-in'
        when i.state in ('unknown', 'sending') then 'the mail may have gone out; roster.invite() sends another'
    end as reason,
    null::text as code,
    '{}'::jsonb as changes,
    false as is_removal,
    null::text as removed_role,
    m.removed_by,
    m.removal_verdict,
    m.disputed,
    m.error_class,
    m.error_code,
    m.next_attempt_at,
    m.lease_by,
    m.lease_until
from roster.mirror m
cross join roster.settings s
left join roster.invitations i on i.user_key = m.user_key and i.incarnation = m.incarnation and i.epoch = m.invite_epoch
join roster.accounts a on a.user_key = m.user_key and a.incarnation = m.incarnation
join roster.desired_users d on d.user_key = m.user_key
-- The mail went to an address that the account had before, and nobody has logged in yet: a new epoch, whose link ends the old one.
cross join lateral (
    select coalesce(
        i.state <> 'staged' and i.email <> lower(a.email) and not a.has_logged_in
            and (i.state <> 'sending' or i.changed_at < now() - interval '1 minute'),
        false
    ) as is_so
    offset 0
) corrected
where m.invite_epoch > 0 and a.origin <> 'further' and a.auth0_user_id like 'auth0|%' and a.state = 'linked' and a.call_id is null
    and (i.state is distinct from 'sent' or corrected.is_so)
    and s.invitation_send <> 'none' and d.blocked is not true and not a.blocked;

comment on view roster.plan_of_invitations is 'Which invitations are still wanted; part of roster.plan.';

create or replace view roster.plan as
select
    p.user_key,
    p.auth0_user_id,
    p.email,
    p.action,
    case
        when p.verdict is not null then p.verdict
        when p.disputed is not null and p.action in ('create', 'look', 'update', 'unblock', 'invite') then 'disputed'
        when p.is_removal and p.removal_verdict = 'kept' then 'kept'
        when held.because is not null then 'held'
        when p.error_class = 'data' and p.action in ('create', 'update', 'unblock', 'move aside', 'invite') then 'parked'
        when s.paused_at is not null
            or s.mode = 'observe' and p.action not in ('look', 'link', 'rekey')
            or s.mode = 'additive' and p.is_removal then 'suppressed'
        when p.waits_for is not null or lease.holds then 'waiting'
        -- The pace of mails and somebody else's address hold no block up; what failed is tried again in its time.
        when p.next_attempt_at > now() and not (p.is_removal and p.error_code is null) then 'waiting'
        else 'due'
    end as state,
    p.lane,
    coalesce(p.due_at, case when p.next_attempt_at > now() and not (p.is_removal and p.error_code is null) then p.next_attempt_at end) as due_at,
    coalesce(
        held.because,
        case when p.disputed is not null then p.disputed end,
        p.waits_for,
        p.reason,
        case when p.next_attempt_at > now() then concat_ws(' after ', 'tried again later', p.error_code) end,
        case when lease.holds then 'a reactor is at it' end,
        case
            when s.paused_at is not null then 'paused: ' || s.pause_reason
            when s.mode = 'observe' and p.action not in ('look', 'link', 'rekey') then 'the mode is observe'
        end
    ) as reason,
    p.changes,
    case
        when p.verdict is not null then p.code
        when p.disputed is not null and p.action in ('create', 'look', 'update', 'unblock', 'invite') then p.disputed
        when p.error_class = 'data' and p.action in ('create', 'update', 'unblock', 'move aside', 'invite') then p.error_code
    end as code
from (
    select * from roster.plan_of_accounts
    union all
    select * from roster.plan_of_users
    union all
    select * from roster.plan_of_invitations
) p
cross join roster.settings s
-- One's own lease is none.
cross join lateral (
    select case
        when p.lease_until > now() and p.lease_by::text is distinct from current_setting('roster.reactor', true)
            then p.lease_by not in (select g.id from roster.reactors_gone g)
        else false
    end as holds
    offset 0
) lease
cross join lateral (
    -- Not yet where it waits for something else, such as its time; and not where a person has judged.
    select case when p.is_removal and p.removal_verdict is null and p.waits_for is null then case
        when p.removed_by = 'truncate' then 'the users table was truncated'
        -- Not folded yet, so it stands with nobody's row.
        when p.removed_by is null and exists (
            select from roster.changes c where c.folded_at is null and c.of_users and c.op = 'truncate'
        ) then 'the users table was truncated'
        when lower(p.email) = any (s.guard_protected) or p.user_key = any (s.guard_protected) then 'this user is protected'
        when p.removed_role = s.guard_admin_role
            and (select roster.admins_left()) < s.guard_min_admins
            then 'too few administrators would remain'
        else (select roster.removals_held_because())
    end end as because
    offset 0
) held;

comment on view roster.plan is
    'What is to be done, row by row. state: due, waiting, held, disputed, parked, staged, kept, or suppressed (by mode or pause). The reactor executes exactly what is due.';
comment on column roster.plan.action is 'look, create, invite, update, block, unblock, link, rekey, move aside or delete; to link is always for a person.';
comment on column roster.plan.changes is 'Fields that will change in Auth0, each with "from" and "to".';
comment on column roster.plan.code is 'Stable code of why it is disputed or parked. Null: it is not.';
comment on column roster.plan.due_at is 'Not before this time. Null: no such wait.';
