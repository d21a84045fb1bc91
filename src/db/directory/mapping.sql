-- A word for how users come out of tables, and for what captures their changes: views, the watched tables and their triggers. Another
-- word means that what was read before may differ from what would be read now, without a row in roster.changes.
select md5(concat(
    (select string_agg(concat(r.ev_class, ':', r.xmin), ',' order by r.oid) from pg_catalog.pg_rewrite r where r.ev_class in (
        with recursive views (id) as (
            select 'roster.desired_users'::regclass::oid
            union
            select d.refobjid
            from views v
            join pg_catalog.pg_rewrite r on r.ev_class = v.id
            join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
                and d.refclassid = 'pg_catalog.pg_class'::regclass
            join pg_catalog.pg_class c on c.oid = d.refobjid and c.relkind = 'v'
        )
        select id from views
    )),
    ';',
    (select string_agg(concat(w.relation, ':', w.xmin, ':', c.oid, ':', (
        select string_agg(concat(t.oid, ':', t.xmin), ',' order by t.oid) from pg_catalog.pg_trigger t where t.tgrelid = c.oid
    )), ',' order by w.relation)
    from roster.watched w left join pg_catalog.pg_class c on c.oid = roster.oid_of(w.relation))
))
