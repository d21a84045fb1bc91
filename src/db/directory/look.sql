-- What has changed since a snapshot: $1 its xmax, $2 the transactions that were open in it, as text; $3 how many keys at most.
-- One row at least. All of it is of one snapshot, which is the next one to look from.
--
-- Not seen by a snapshot is what has a transaction from its xmax on, or one of those that were open; each is found by index, so a
-- transaction that stays open for long makes no look slower.
with news as materialized (
    select c.user_keys from roster.changes c where c.txid >= $1::text::xid8
    union all
    select c.user_keys from roster.changes c where c.txid = any ($2::text[]::xid8[])
    union all
    -- A person took an account away. Whom it belonged to stands in account_changes.
    select a.user_keys from roster.account_changes a where a.txid >= $1::text::xid8
    union all
    select a.user_keys from roster.account_changes a where a.txid = any ($2::text[]::xid8[])
),
named as materialized (
    select distinct k.user_key
    from news n cross join unnest(n.user_keys) k (user_key)
    where k.user_key is not null
    limit $3::bigint
),
few as materialized (
    select coalesce(array_agg(n.user_key), '{}') as user_keys from named n
)
select pg_current_snapshot()::text as snapshot,
    current_setting('transaction_read_only') = 'on' as read_only,
    ({mapping}) as mapping,
    exists (select from news n where n.user_keys is null) as everybody,
    n.user_key as changed,
    f.*
from (values (1)) as one
left join named n on true
left join (
    {facts}
) f on f.user_key = n.user_key
