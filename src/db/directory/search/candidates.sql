-- $1 the key after which to look on, $2 at how many users, $3 permissions of which one is enough. One row: how many were looked
-- at, the last key of them, and of those who hold one the keys and the primary accounts (null where there is none yet).
-- In the order of the index that serves look-ups by key, so that it reads as many users as it looks at.
with looked as materialized (
    select d.user_key, d.permissions, d.blocked
    from roster.desired_users d
    where d.user_key > $1::text
    order by d.user_key
    limit $2::bigint
),
holding as materialized (
    select l.user_key::text as user_key,
        (
            select a.auth0_user_id
            from roster.accounts a
            join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation
            where a.user_key = l.user_key and a.origin <> 'further' and a.state <> 'gone'
            limit 1
        ) as account
    from looked l
    where l.permissions::text[] && $3::text[] and l.blocked is not true
)
select (select count(*) from looked) as looked,
    (select l.user_key::text from looked l order by l.user_key desc limit 1) as last_key,
    array(select h.user_key from holding h order by h.user_key) as keys,
    array(select h.account from holding h order by h.user_key) as accounts
