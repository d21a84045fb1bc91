-- $1 ids; $2 which of them may be keys as well as accounts. A row for each user who could be meant by an id, with the id's number.
-- Whose an account is, is asked as in find.sql; here for many at once, so that the view is read once and not for each.
with wanted as materialized (
    select w.id, w.may_be_key, w.n from unnest($1::text[], $2::boolean[]) with ordinality as w (id, may_be_key, n)
),
meant as materialized (
    select w.n, w.id as user_key, true as by_key, null as email, false as is_disputed, null as folded_email
    from wanted w
    where w.may_be_key
    union all
    select w.n, a.user_key, false, lower(a.email), m.disputed is not null, m.email
    from wanted w
    join roster.accounts a on a.auth0_user_id = w.id
    join roster.mirror m on m.user_key = a.user_key and m.incarnation = a.incarnation
    where a.state <> 'gone'
)
select t.n, t.by_key, d.user_key::text as user_key, coalesce(d.blocked, false) as blocked,
    d.permissions::text[] as permissions
from meant t
join roster.desired_users d on d.user_key = t.user_key
where t.by_key
    or lower(d.email) is not distinct from t.email
    or not (
        t.is_disputed
        or coalesce(t.folded_email, lower(d.email)) is distinct from lower(d.email)
        or exists (
            select from roster.changes c
            where c.folded_at is null and (c.user_keys @> array[d.user_key] or c.user_keys is null)
        )
    )
