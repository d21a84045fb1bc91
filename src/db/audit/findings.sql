-- What differs between what is desired and what was seen, row by row. {seen} is what Auth0 showed, {accounts} and {users} whom of
-- Roster's own it is compared with: everybody, or those that were looked at again.
--
-- Which fields differ is said as roster.plan_of_accounts says it, of what was just seen instead of what was last observed. Whom
-- Roster is about to change, or to look at, or has changed since $1, has the rank 9 and no kind: not judged.
--
-- Each `offset 0` keeps a value from being written out again at each mention, and a condition in front of what it spares.
select f.*
from (
    -- Accounts that Roster linked.
    select
        case when way.is_on_it then 9 else of_it.rank end as rank,
        case when not way.is_on_it then of_it.kind end as kind,
        a.user_key, a.auth0_user_id, case when it.live then d.email else a.email end as email, of_it.changes, of_it.detail
    from {accounts} a
    join roster.mirror m on m.user_key = a.user_key
    left join roster.desired_users d on d.user_key = a.user_key
    left join {seen} s on s.auth0_user_id = a.auth0_user_id
    cross join lateral (
        select d.user_key is not null and a.incarnation = m.incarnation as live, coalesce(s.found, false) as found,
            a.origin <> 'further' as is_primary, a.origin <> 'further' and a.auth0_user_id like 'auth0|%' as is_named_by_us
        offset 0
    ) it
    cross join lateral (
        select
            case when it.live then roster.owned_app_metadata(d.app_metadata, d.role, d.permissions) end as app_metadata,
            case when it.live then jsonb_strip_nulls(coalesce(d.user_metadata, '{}')) end as user_metadata
        offset 0
    ) owned
    cross join lateral (
        select
            case when it.live and it.found
                then roster.owned_part(s.app_metadata, array['role', 'permissions'], a.app_metadata, d.app_metadata) end as app_metadata,
            case when it.live and it.found then roster.owned_part(s.user_metadata, '{}', a.user_metadata, d.user_metadata) end as user_metadata
        offset 0
    ) shown
    cross join lateral (
        select case when not it.live or not it.found then '{}'::jsonb else
            case when it.is_named_by_us and lower(d.email) is distinct from lower(s.email)
                then jsonb_build_object('email', jsonb_build_object('from', s.email, 'to', lower(d.email))) else '{}' end
            || case when it.is_named_by_us and d.name <> '' and left(d.name, 150) is distinct from s.name
                then jsonb_build_object('name', jsonb_build_object('from', s.name, 'to', left(d.name, 150))) else '{}' end
            || case when owned.app_metadata <> shown.app_metadata
                then roster.metadata_changes('app_metadata.', owned.app_metadata, shown.app_metadata) else '{}' end
            || case when owned.user_metadata <> shown.user_metadata
                then roster.metadata_changes('user_metadata.', owned.user_metadata, shown.user_metadata) else '{}' end
        end as changes
        offset 0
    ) differ
    -- Does the row name another account?
    cross join lateral (
        select case when it.live and it.is_primary and d.auth0_user_id <> a.auth0_user_id
            then not roster.is_of_the_past(d.auth0_user_id, a.user_key) else false end as is_other
        offset 0
    ) claim
    cross join lateral (
        select 1 as rank, 'blocked mismatch' as kind, jsonb_build_object('blocked', jsonb_build_object('from', false, 'to', true)) as changes,
            case when not it.live then 'its user is removed' end as detail
        where it.found and not s.blocked and (not it.live or d.blocked) and m.removal_verdict is distinct from 'kept'
        union all
        select 1, 'blocked mismatch', jsonb_build_object('blocked', jsonb_build_object('from', true, 'to', false)), 'Roster''s own block'
        where it.found and it.live and s.blocked and d.blocked is not true and a.blocked_by_us
        union all
        select 2, 'linked away', '{}'::jsonb, s.moved_into
        where not it.found and s.moved_into is not null
        union all
        -- Nobody misses the account of somebody who is removed.
        select 2, 'missing', '{}'::jsonb, case when not it.is_primary then 'a further log-in' end
        where not it.found and s.moved_into is null and it.live
        union all
        select 3, 'ban made elsewhere', jsonb_build_object('blocked', jsonb_build_object('from', true, 'to', false)), null
        where it.found and it.live and s.blocked and d.blocked is not true and not a.blocked_by_us
        union all
        select 4, 'changed', differ.changes, null
        where differ.changes <> '{}' and m.disputed is null and not claim.is_other
        union all
        select 5, 'disputed', differ.changes, coalesce(m.disputed, format('the row names %s', d.auth0_user_id))
        where it.live and it.is_primary and (m.disputed is not null or claim.is_other)
    ) of_it
    cross join lateral (
        select m.due or m.lease_by is not null or a.call_id is not null or a.observed_at is null or a.state = 'missing'
            or a.observed_at >= $1::text::timestamptz or m.removed_at is null and d.user_key is null
            or a.user_key in (select n.user_key from roster.news n) as is_on_it
        offset 0
    ) way
    where a.state in ('linked', 'missing')

    union all

    -- Users without an account of their own.
    select
        case when way.is_on_it then 9 else 5 end,
        case when not way.is_on_it then case when d.disputed is not null or namesake.auth0_user_id is not null then 'disputed' else 'missing' end end,
        d.user_key, namesake.auth0_user_id, d.email, '{}'::jsonb,
        coalesce(d.disputed, case when namesake.auth0_user_id is not null then 'an account with this address is not linked' end)
    from (
        select d.user_key, d.email, m.disputed, own.call_id, m.lease_by, m.due
        from {users} d
        left join roster.mirror m on m.user_key = d.user_key
        left join roster.accounts own on own.user_key = d.user_key and own.incarnation = m.incarnation
            and own.origin <> 'further' and own.state <> 'gone'
        where d.blocked is not true and (own.user_key is null or own.state = 'chosen')
            and not exists (select from {seen} s where s.auth0_user_id = own.auth0_user_id and s.found)
        offset 0
    ) d
    left join lateral (
        select s.auth0_user_id from {seen} s
        where lower(s.email) = lower(d.email) and s.found and s.in_connection
        limit 1
    ) namesake on true
    cross join lateral (
        select coalesce(d.due or d.lease_by is not null or d.call_id is not null, true)
            or d.user_key in (select n.user_key from roster.news n) as is_on_it
        offset 0
    ) way

    union all

    -- Accounts that Roster did not link: of somebody who has another one, or of nobody.
    select
        case when owner.account is not null then 6 else 7 end,
        case when owner.account is not null then 'duplicate' else 'extra' end,
        owner.user_key, s.auth0_user_id, s.email,
        jsonb_build_object('email', jsonb_build_object('from', s.email, 'to', null))
            || case when s.name is not null then jsonb_build_object('name', jsonb_build_object('from', s.name, 'to', null)) else '{}' end
            || case when s.blocked then jsonb_build_object('blocked', jsonb_build_object('from', true, 'to', null)) else '{}' end
            || case when s.app_metadata ? 'role'
                then jsonb_build_object('app_metadata.role', jsonb_build_object('from', s.app_metadata -> 'role', 'to', null)) else '{}' end,
        case
            when owner.account is not null then format('%s account %s, beside %s',
                case when s.email_verified then 'a verified' else 'an unverified' end,
                case when s.in_connection then 'of the same connection' else 'elsewhere' end, owner.account)
            when s.app_metadata #>> '{roster,user_key}' is not null then format('carries the mark of user %s', s.app_metadata #>> '{roster,user_key}')
        end
    from (
        select s.* from {seen} s
        where s.found and not exists (
            select from roster.accounts known where known.auth0_user_id = s.auth0_user_id and known.state <> 'gone'
        )
        offset 0
    ) s
    left join lateral (
        select d.user_key, a.auth0_user_id as account
        from roster.desired_users d left join roster.accounts a on a.user_key = d.user_key and a.state = 'linked'
        where lower(d.email) = lower(s.email)
        order by a.auth0_user_id nulls last
        limit 1
    ) owner on true
    -- That of a user who has none is told above.
    where owner.account is not null or owner.user_key is null and s.in_connection
) f
