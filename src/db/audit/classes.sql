-- Each account of the export and each user without one, with its class: what a look would make of them, as src/reactor/outcome.rs
-- decides it. Nothing is asked of Auth0 for it, so that a tenant of any size is classed by its export alone.
--
-- Joined as a whole by hash: the mapping of an adopted table may have no index on its addresses or ids.
with users as materialized (
    select d.user_key, lower(d.email) as email, d.auth0_user_id, m.disputed, own.auth0_user_id as own_id
    from roster.desired_users d
    left join roster.mirror m on m.user_key = d.user_key
    left join roster.accounts own on own.user_key = d.user_key and own.incarnation = m.incarnation
        and own.origin <> 'further' and own.state in ('linked', 'missing')
),
named as (
    select email, min(user_key) as user_key, count(*) as users from users where email is not null group by email
),
here as (
    select lower(email) as email, count(*) as accounts from audit_seen where in_connection and email is not null group by lower(email)
),
accounts as materialized (
    select s.auth0_user_id, s.email,
        coalesce(a.user_key, claims.user_key, u.user_key) as user_key,
        case
            when a.user_key is not null and u_linked.user_key is null then array['linked', 'its user has no row']
            when u_linked.disputed is not null then array['disputed', u_linked.disputed]
            when a.user_key is not null then array['linked']
            when claims.own_id is not null or claims.user_key is null and u.own_id is not null
                then array['disputed', format('its user has %s', coalesce(claims.own_id, u.own_id))]
            when claims.user_key is not null and s.in_connection and claims.email = lower(s.email) then array['matchable', 'the row names it']
            when claims.user_key is not null then array['disputed', 'claimed_account_differs']
            when u.user_key is null then array['only in Auth0']
            when not s.in_connection and s.email_verified then array['matchable', 'a further log-in']
            when not s.in_connection then array['only in Auth0', 'an unverified address of another connection']
            when named.users > 1 then array['disputed', 'email_collides']
            when here.accounts > 1 then array['disputed', 'accounts_double']
            when u.auth0_user_id is not null then array['disputed', 'claimed_account_differs']
            when s.email_verified or s.app_metadata #>> '{roster,user_key}' = u.user_key then array['matchable']
            else array['disputed', 'account_unverified']
        end as class
    from audit_seen s
    left join roster.accounts a on a.auth0_user_id = s.auth0_user_id and a.state in ('linked', 'missing')
    left join users u_linked on u_linked.user_key = a.user_key
    left join users claims on claims.auth0_user_id = s.auth0_user_id and a.user_key is null
    left join named on named.email = lower(s.email)
    left join users u on u.user_key = named.user_key
    left join here on here.email = lower(s.email)
)
select class[1] as class, user_key, auth0_user_id, email, class[2] as detail from accounts
union all
select case when u.disputed is null and u.auth0_user_id is null then 'only in Postgres' else 'disputed' end,
    u.user_key, null, u.email, coalesce(u.disputed, case when u.auth0_user_id is not null then 'claimed_account_missing' end)
from users u
where not exists (select from accounts a where a.user_key = u.user_key and a.class <> array['matchable', 'a further log-in'])
    and not exists (select from named n join here h on h.email = n.email where n.email = u.email)
