-- $1 subject of a token; $2 its address in lower case if it may be used for a match, else null.
-- One row at least (for the revision), two if more than one user matches. Columns are cast, so that a view that is
-- redefined with other types never invalidates the prepared statement.
with account as materialized (
    select a.user_key, a.state, lower(a.email) as email, a.incarnation = m.incarnation as of_now,
        m.disputed is not null as is_disputed, m.email as folded_email
    from roster.accounts a
    left join roster.mirror m on m.user_key = a.user_key
    where a.auth0_user_id = $1::text
),
by_account as materialized (
    select d.*
    from roster.desired_users d
    where d.user_key = (select a.user_key from account a where a.of_now and a.state <> 'gone')
        -- A row whose address is not its account's: the same person's address was changed, or the key is another
        -- person's by now. Folding a change tells which; until then, and while that is disputed, the answer is no.
        and not (
            lower(d.email) is distinct from (select a.email from account a)
            and (
                (select a.is_disputed from account a)
                or coalesce((select a.folded_email from account a), lower(d.email)) is distinct from lower(d.email)
                or exists (
                    select from roster.changes c
                    where c.folded_at is null and (c.user_keys @> array[d.user_key] or c.user_keys is null)
                )
            )
        )
),
by_email as materialized (
    select d.*
    from roster.desired_users d
    where lower(d.email) = $2::text
        -- Other letters can fold to ASCII ones (the Kelvin sign to k): such an address is not the token's.
        and octet_length(d.email) = char_length(d.email)
        and not exists (select from by_account)
    limit 2
),
matched as (
    select b.*, true as by_account, false as elsewhere
    from by_account b
    union all
    select b.*, false,
        coalesce((
            select a.of_now and a.user_key <> b.user_key
                and exists (select from roster.desired_users d where d.user_key = a.user_key)
            from account a), false)
    from by_email b
)
select pg_catalog.pg_current_snapshot()::text as revision,
    m.user_key::text as user_key,
    m.email::text as email,
    m.name::text as name,
    m.role::text as role,
    m.permissions::text[] as permissions,
    coalesce(m.blocked, false) as blocked,
    coalesce((
        select a.auth0_user_id
        from roster.accounts a
        join roster.mirror o on o.user_key = a.user_key and o.incarnation = a.incarnation
        where a.user_key = m.user_key and a.origin <> 'further' and a.state <> 'gone'
        limit 1), $1::text) as auth0_user_id,
    m.by_account,
    m.elsewhere
from (values (1)) as one
left join matched m on true
