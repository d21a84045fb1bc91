-- Users as roster.desired_users shows them, each with the accounts that find it: what find.sql would answer for each of those, whatever
-- the token's address. {users} and {accounts} narrow it down to some keys. Columns are cast, as in find.sql.
select d.user_key::text as user_key,
    d.email::text as email,
    d.name::text as name,
    d.role::text as role,
    d.permissions::text[] as permissions,
    coalesce(d.blocked, false) as blocked,
    held.primary_account,
    array(
        select a.id
        from unnest(held.ids, held.emails) a (id, email)
        where not (
            lower(d.email) is distinct from a.email
            and (
                held.is_disputed
                or coalesce(held.folded_email, lower(d.email)) is distinct from lower(d.email)
                or exists (
                    select from roster.changes c
                    where c.folded_at is null and (c.user_keys @> array[d.user_key] or c.user_keys is null)
                )
            )
        )
    ) as subjects
from roster.desired_users d
left join (
    select a.user_key, m.email as folded_email, m.disputed is not null as is_disputed,
        array_agg(a.auth0_user_id) as ids, array_agg(lower(a.email)) as emails,
        min(a.auth0_user_id) filter (where a.origin <> 'further') as primary_account
    from roster.accounts a
    join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation
    where a.state <> 'gone' and {accounts}
    group by a.user_key, m.email, m.disputed
) held on held.user_key = d.user_key
where d.user_key is not null and {users}
