-- Capture: roster.watch() puts the change triggers on a table, each with a function written for that table.
--
-- Guarantees: a statement that changes nothing mirrored writes nothing; one that does appends one row to roster.changes. The captured
-- statement never fails because of its capture: an error there becomes a row without keys, which means "look at everybody".
-- Costs: an UPDATE joins its old and new rows on the key, in memory up to 32 MB; INSERT, DELETE and COPY aggregate their keys.
-- The functions are SECURITY DEFINER, so whoever may write to the table needs no right in this schema; and the triggers are
-- ENABLE ALWAYS, so session_replication_role = replica does not slip past.

-- A list like `a.x, a.y::text`: columns of types from elsewhere (citext, enums) and those that have no order of their own (json, point,
-- arrays of them) are compared as text, since under the pinned search_path their own operators may be out of sight, or there are none.
create or replace function roster.captured_columns(relation regclass, columns text[], alias text) returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
return (
    select string_agg(
        format('%s.%I', alias, a.attname)
            || case when exists (
                select from pg_opclass o join pg_am m on m.oid = o.opcmethod
                where m.amname = 'btree' and o.opcdefault and o.opcintype = a.atttypid and o.opcnamespace = 'pg_catalog'::regnamespace
            ) then '' else '::text' end,
        ', ' order by array_position(columns, a.attname::text)
    )
    from pg_attribute a
    where a.attrelid = relation and a.attname = any (columns) and a.attnum > 0 and not a.attisdropped
);

comment on function roster.captured_columns(regclass, text[], text) is 'The column list a capture compares; used by roster.watch().';

-- The body of one capture function: what it appends to roster.changes for one kind of statement or row.
create or replace function roster.capture_body(relation regclass, key text, columns text[], for_each text, of_users boolean, op text) returns text
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $function$
declare
    named constant text := quote_literal(relation::text);
    old_columns constant text := roster.captured_columns(relation, columns, case for_each when 'row' then 'old' else 'o' end);
    new_columns constant text := roster.captured_columns(relation, columns, case for_each when 'row' then 'new' else 'n' end);
    rows_of constant text := case op when 'delete' then 'old_rows' else 'new_rows' end;
begin
    if op = 'truncate' then
        return format('insert into roster.changes (op, relation, of_users) values (%L, %s, %L);', op, named, of_users);
    elsif for_each = 'row' then
        return case op
            when 'insert' then format(
                'insert into roster.changes (op, relation, of_users, user_keys) values (%L, %s, %L, %s);',
                op, named, of_users, case when key is null then 'null' else format('array[new.%I::text]', key) end)
            when 'delete' then format(
                'insert into roster.changes (op, relation, of_users, user_keys) values (%L, %s, %L, %s);',
                op, named, of_users, case when key is null then 'null' else format('array[old.%I::text]', key) end)
            else format(
                'if (%s) is distinct from (%s) then insert into roster.changes (op, relation, of_users, user_keys, keys_added, keys_removed) values (%L, %s, %L, %s, %s, %s); end if;',
                old_columns, new_columns, op, named, of_users,
                case when key is null then 'null' else format('array[old.%1$I::text, new.%1$I::text]', key) end,
                case when of_users then format('case when old.%1$I is distinct from new.%1$I then array[new.%1$I::text] end', key) else 'null' end,
                case when of_users then format('case when old.%1$I is distinct from new.%1$I then array[old.%1$I::text] end', key) else 'null' end)
        end;
    elsif key is null then
        if op <> 'update' then
            return format('insert into roster.changes (op, relation) select %L, %s where exists (select from %s);', op, named, rows_of);
        end if;
        return format(
            'insert into roster.changes (op, relation) select %1$L, %2$s where '
            'exists (select %3$s from old_rows o except all select %4$s from new_rows n) '
            'or exists (select %4$s from new_rows n except all select %3$s from old_rows o);',
            op, named, old_columns, new_columns);
    elsif op <> 'update' then
        return format(
            'insert into roster.changes (op, relation, of_users, user_keys) '
            'select %1$L, %2$s, %3$L, array_agg(%5$s r.%4$I::text) from %6$s r where r.%4$I is not null having count(*) > 0;',
            op, named, of_users, key, case when of_users then '' else 'distinct' end, rows_of);
    elsif of_users then
        return format(
            'insert into roster.changes (op, relation, of_users, user_keys, keys_added, keys_removed) '
            'select %1$L, %2$s, true, array_agg(coalesce(n.%3$I, o.%3$I)::text), '
            'array_agg(n.%3$I::text) filter (where o.%3$I is null), array_agg(o.%3$I::text) filter (where n.%3$I is null) '
            'from old_rows o full join new_rows n on n.%3$I = o.%3$I '
            'where o.%3$I is null or n.%3$I is null or (%4$s) is distinct from (%5$s) having count(*) > 0;',
            op, named, key, old_columns, new_columns);
    else
        return format(
            'insert into roster.changes (op, relation, user_keys) '
            'select %1$L, %2$s, array_agg(distinct c.k) from ('
            '(select o.%3$I::text as k, %4$s from old_rows o except all select n.%3$I::text, %5$s from new_rows n) union all '
            '(select n.%3$I::text, %5$s from new_rows n except all select o.%3$I::text, %4$s from old_rows o)) c (k) '
            'where c.k is not null having count(*) > 0;',
            op, named, key, old_columns, new_columns);
    end if;
end
$function$;

comment on function roster.capture_body(regclass, text, text[], text, boolean, text) is 'What a capture function does for one kind of statement; used by roster.watch().';

create or replace function roster.oid_of(relation text) returns oid
    language sql stable parallel safe
    set search_path = pg_catalog, pg_temp
return (
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where array[n.nspname::text, c.relname::text] = parse_ident(relation)
);

comment on function roster.oid_of(text) is
    'The table with this name, schema and all; null if there is none. Unlike to_regclass() it asks for no right on the schema.';

create or replace function roster.watch(
    "table" regclass,
    key text default null,
    columns text[] default null,
    for_each text default 'statement'
) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    mirrored text[] := coalesce(columns, (
        select array_agg(attname::text order by attnum) from pg_attribute
        where attrelid = "table" and attnum > 0 and not attisdropped
    ));
    missing text;
    users_themselves boolean;
    op text;
    capture text;
begin
    if for_each is null or for_each not in ('statement', 'row') then
        raise exception using errcode = 'RO001',
            message = format('for_each is %L', for_each),
            detail = 'A table is watched once for each statement, or once for each row.',
            hint = format('select roster.watch(%L, %L, for_each => ''statement'');', "table", key);
    end if;
    select string_agg(quote_ident(c), ', ') into missing
    from unnest(mirrored || key) c
    where c is not null and not exists (
        select from pg_attribute where attrelid = "table" and attname = c and attnum > 0 and not attisdropped
    );
    if missing is not null then
        raise exception using errcode = 'RO002',
            message = format('%s has no column %s', "table", missing),
            detail = format('It was to be watched with key %s and columns %s.', coalesce(key, 'none'), mirrored),
            hint = format('select roster.watch(%L, ''<key column>'', array[''<column>'', …]);', "table");
    end if;
    if key is not null and key <> all (mirrored) then
        mirrored := mirrored || key;
    end if;
    -- Its rows are the users themselves if the key is the table's one unique column and does not point elsewhere.
    users_themselves := key is not null
        and exists (
            select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = "table" and i.indisunique and i.indnkeyatts = 1 and i.indpred is null and a.attname = key
        )
        and not exists (
            select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any (c.conkey)
            where c.conrelid = "table" and c.contype = 'f' and a.attname = key
        );

    perform roster.hold("table");
    foreach op in array array['insert', 'update', 'delete', 'truncate'] loop
        capture := roster.capture_name("table", op);
        -- A join of two transition tables is thought so dear that a writer's session would compile it, for longer than it takes: no jit.
        -- The body as a literal: a name of somebody else's table may hold whatever would end a dollar quote.
        execute format(
            'create or replace function roster.%I() returns trigger language plpgsql security definer '
            'set search_path = pg_catalog, pg_temp set jit = off set work_mem = ''32MB'' as %L',
            capture,
            format(
                $capture$
                begin
                    %s
                    return null;
                exception when others then
                    insert into roster.changes (op, relation, of_users, error) values (%L, %L, false, sqlstate || ': ' || sqlerrm);
                    return null;
                end
                $capture$,
                roster.capture_body("table", key, mirrored, for_each, users_themselves, op), op, "table"::text
            )
        );
        execute format('revoke execute on function roster.%I() from public', capture);
        execute format('comment on function roster.%I() is %L', capture,
            format('Appends to roster.changes what a %s on %s concerns. Written by roster.watch().', upper(op), "table"));
        execute format('drop trigger if exists roster_%s on %s', op, "table");
        execute format(
            'create trigger roster_%1$s after %1$s on %2$s %3$s for each %4$s execute function roster.%5$I()',
            op, "table",
            case when for_each = 'row' then '' else
                case op
                    when 'insert' then 'referencing new table as new_rows'
                    when 'update' then 'referencing old table as old_rows new table as new_rows'
                    when 'delete' then 'referencing old table as old_rows'
                    else ''
                end
            end,
            case when op = 'truncate' then 'statement' else for_each end, capture
        );
        execute format('alter table %s enable always trigger roster_%s', "table", op);
        execute format('comment on trigger roster_%s on %s is %L', op, "table",
            'Tells Roster who has changed. Take it off with roster.unwatch(), or for a while with roster.detach().');
    end loop;

    insert into roster.watched as w (relation, key_column, columns, for_each, of_users)
    values ("table"::text, key, mirrored, for_each, users_themselves)
    on conflict (relation) do update
    set key_column = excluded.key_column, columns = excluded.columns, for_each = excluded.for_each, of_users = excluded.of_users, attached = true;
    -- What happened before the triggers stood is found by looking at everybody.
    insert into roster.changes (op, relation) values ('watch', "table"::text);
end
$function$;

comment on function roster.watch(regclass, text, text[], text) is
    'Captures the changes of a table: watch(''hr.people'', key => ''id'', columns => array[''mail'', ''role'']). Without a key a change concerns everybody. for_each => ''row'' for logical-replication subscribers and partitions written by name.';

create or replace function roster.capture_name(relation regclass, op text) returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
return (
    select 'capture_' || left(regexp_replace(n.nspname || '_' || c.relname, '[^a-zA-Z0-9_]', '_', 'g'), 32)
        || '_' || left(md5(n.nspname || '.' || c.relname), 6) || '_' || op
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = relation
);

comment on function roster.capture_name(regclass, text) is 'The name of the capture function of a watched table.';

-- DROP TRIGGER reads the trigger before it waits for the table: whom somebody was ahead of meanwhile would be told "tuple concurrently
-- updated". A table that has none yet is not held more strongly than CREATE TRIGGER holds it.
create or replace function roster.hold("table" regclass) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if exists (select from pg_class where oid = "table" and relkind in ('r', 'p')) then
        execute format('lock table only %s in %s mode', "table", case
            when exists (select from pg_trigger where tgrelid = "table" and tgname like 'roster\_%') then 'access exclusive'
            else 'share row exclusive'
        end);
    end if;
end
$function$;

comment on function roster.hold(regclass) is 'Waits until nobody else puts triggers on this table or takes them off, until the end of the transaction.';

create or replace function roster.unwatch("table" regclass) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    op text;
begin
    perform roster.hold("table");
    foreach op in array array['insert', 'update', 'delete', 'truncate'] loop
        execute format('drop trigger if exists roster_%s on %s', op, "table");
        execute format('drop function if exists roster.%I()', roster.capture_name("table", op));
    end loop;
    delete from roster.watched w where w.relation = "table"::text;
    insert into roster.changes (op, relation) values ('unwatch', "table"::text);
end
$function$;

comment on function roster.unwatch(regclass) is 'Takes the change triggers off a table for good. The sweep still finds what changes there, later.';

create or replace function roster.detach() returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    w record;
    op text;
begin
    for w in select relation from roster.watched where attached loop
        perform roster.hold(w.relation::regclass);
        foreach op in array array['insert', 'update', 'delete', 'truncate'] loop
            execute format('drop trigger if exists roster_%s on %s', op, w.relation::regclass);
        end loop;
    end loop;
    update roster.watched set attached = false;
    insert into roster.changes (op) values ('detach');
end
$function$;

comment on function roster.detach() is 'Takes all change triggers off, for a schema change. Put them back with roster.attach().';

create or replace function roster.attach() returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    w record;
begin
    for w in select * from roster.watched loop
        perform roster.watch(w.relation::regclass, w.key_column, w.columns, w.for_each);
    end loop;
end
$function$;

comment on function roster.attach() is 'Puts the change triggers back on every watched table and looks at everybody once.';

revoke execute on function
    roster.captured_columns(regclass, text[], text), roster.capture_body(regclass, text, text[], text, boolean, text),
    roster.watch(regclass, text, text[], text), roster.unwatch(regclass), roster.capture_name(regclass, text), roster.hold(regclass), roster.detach(), roster.attach()
from public;
