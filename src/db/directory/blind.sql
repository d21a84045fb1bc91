-- What would change users without a row in roster.changes: where there is anything, nothing read before may be relied on.
with recursive views (id) as (
    select 'roster.desired_users'::regclass::oid
    union
    select d.refobjid
    from views v
    join pg_catalog.pg_rewrite r on r.ev_class = v.id
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
        and d.refclassid = 'pg_catalog.pg_class'::regclass
    join pg_catalog.pg_class c on c.oid = d.refobjid and c.relkind = 'v'
),
rules as (
    select r.oid, r.ev_action::text as tree from views v join pg_catalog.pg_rewrite r on r.ev_class = v.id
),
reads as (
    select distinct c.oid, c.relkind, a.attname
    from rules r
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
        and d.refclassid = 'pg_catalog.pg_class'::regclass
    join pg_catalog.pg_class c on c.oid = d.refobjid and c.relkind <> 'v'
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid and d.refobjsubid > 0
),
calls as (
    select distinct p.oid, p.proname, p.provolatile, p.pronamespace
    from rules r
    cross join regexp_matches(r.tree, ':(?:func|opfunc|aggfn|winfn)id (\d+)', 'g') f (id)
    join pg_catalog.pg_proc p on p.oid = f.id[1]::oid
)
select format('the change triggers of %s are not always on', o.relation) as reason
from roster.capture_off o
union all
select distinct format('%s is read and not watched', r.oid::regclass)
from reads r
where not exists (select from roster.watched w where roster.oid_of(w.relation) = r.oid)
union all
select format('column %s of %s is read and not watched', r.attname, r.oid::regclass)
from reads r
join roster.watched w on roster.oid_of(w.relation) = r.oid
where r.attname <> all (w.columns)
union all
select format('%s is watched statement by statement, which misses what is written to its partitions or by replication', w.relation)
from roster.watched w
where w.for_each = 'statement' and (
    exists (select from pg_catalog.pg_inherits i where i.inhparent = roster.oid_of(w.relation))
    or exists (select from pg_catalog.pg_subscription_rel s where s.srrelid = roster.oid_of(w.relation))
)
union all
select format('the view calls %s, which need not say the same tomorrow', c.oid::regprocedure)
from calls c
where c.provolatile = 'v'
    or c.provolatile = 's' and (
        c.pronamespace <> 'pg_catalog'::regnamespace
        or c.proname in ('now', 'statement_timestamp', 'transaction_timestamp', 'age', 'current_setting')
    )
union all
select 'the view reads the clock or who asks (such as CURRENT_DATE or CURRENT_USER)'
from rules r
where r.tree like '%{SQLVALUEFUNCTION%'
