-- $1 subject of a token. The user whose account that is, as nearly everybody is found: the account is the first one of the person the
-- key means, and has the row's address. No row, or two, says nothing: find.sql decides then. This takes half of what that does.
select pg_catalog.pg_current_snapshot()::text as revision,
    d.user_key::text as user_key,
    d.email::text as email,
    d.name::text as name,
    d.role::text as role,
    d.permissions::text[] as permissions,
    coalesce(d.blocked, false) as blocked,
    a.auth0_user_id,
    true as by_account,
    false as elsewhere
from roster.accounts a
join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation
join roster.desired_users d on d.user_key = a.user_key
where a.auth0_user_id = $1::text
    and a.state <> 'gone'
    and a.origin <> 'further'
    and lower(d.email) is not distinct from lower(a.email)
