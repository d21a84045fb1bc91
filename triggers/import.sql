-- Import: a file of users becomes rows of the users table, all at once or not at all.
--
--   begin;
--   \copy roster.import from people.csv with (format csv, header)
--   select * from roster.import_apply();        -- or import_check(): a verdict a line, nothing is written
--   commit;
--
-- Guarantees: it writes the users table, in the caller's transaction and with the caller's rights, and nothing else; the triggers and
-- the reactor do the rest. An empty cell changes nothing: a new row gets the column's default, an old one keeps what it has. A line means
-- the row with its address, whatever the case. What is there already is left alone, so an import that was broken off is simply repeated.
--
-- Design: lines are written a batch at a time. A batch that the table refuses is halved until the line is found that it refuses, so a
-- verdict is what really happened, with the table's own constraints and triggers. What writes has no search_path of its own, since those
-- triggers may rely on the caller's.

-- The import that this session's lines belong to, once there is one.
create or replace function roster.this_import() returns uuid
    language sql stable
    set search_path = pg_catalog, pg_temp
return nullif(current_setting('roster.import_id', true), '')::uuid;

comment on function roster.this_import() is 'The import that this session reads lines for. Null: none.';

create or replace function roster.import_into(into_table regclass, columns jsonb default '{}') returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    known constant jsonb := '{"email": "email", "name": "name", "role": "role", "blocked": "blocked"}';
    missing text;
begin
    -- A name that the table does not have as it stands is left out, unless it was asked for.
    select string_agg(quote_ident(c.value), ', ') into missing
    from jsonb_each_text(import_into.columns) c
    where not exists (select from pg_attribute where attrelid = into_table and attname = c.value and attnum > 0 and not attisdropped);
    if missing is not null then
        raise exception using errcode = 'RO030',
            message = format('%s has no column %s', into_table, missing),
            detail = format('Its columns are %s.', roster.columns_of(into_table)),
            hint = format('select roster.import_into(%L, ''{"email": "…", "name": "…"}'');', into_table);
    end if;
    if not (known || import_into.columns) ->> 'email' = any (string_to_array(roster.columns_of(into_table), ', ')) then
        raise exception using errcode = 'RO030',
            message = format('%s has no column email', into_table),
            detail = format('A line finds its row by the address. Its columns are %s.', roster.columns_of(into_table)),
            hint = format('select roster.import_into(%L, ''{"email": "…"}'');', into_table);
    end if;
    update roster.settings s set import_into = (
            select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = into_table),
        import_columns = (
            select jsonb_object_agg(k.key, k.value) from jsonb_each_text(known || import_into.columns) k
            where exists (select from pg_attribute where attrelid = into_table and attname = k.value and attnum > 0 and not attisdropped));
end
$function$;

comment on function roster.import_into(regclass, jsonb) is
    'Says which table imports write and what its columns are called: ''{"email": "mail", "name": "full_name"}''. Without it: public.users.';

create or replace function roster.columns_of(relation regclass) returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
return (
    select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
);

comment on function roster.columns_of(regclass) is 'The columns of a table.';

-- Begins an import of a file whose header has these names. Columns: {"E-Mail": "email"}, where the file calls a column otherwise.
create or replace function roster.import_begin(source text, header text[], columns jsonb default '{}') returns uuid
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    into_table regclass;
    standard jsonb;
    filled jsonb;
    unknown text;
    this uuid;
begin
    select roster.oid_of(s.import_into), s.import_columns into into_table, standard from roster.settings s;
    if into_table is null then
        raise exception using errcode = 'RO030',
            message = format('there is no table %s', (select s.import_into from roster.settings s)),
            detail = 'Imports write the users table, which has another name here.',
            hint = 'select roster.import_into(''…'', ''{"email": "…"}'');';
    end if;
    -- A name in the file is what was said for it, else what imports call a column, else a column of the table.
    select jsonb_object_agg(h.name, f.attname) filter (where f.attname is not null),
        string_agg(quote_literal(h.name), ', ') filter (where f.attname is null)
    into filled, unknown
    from unnest(header) h (name)
    cross join lateral (
        select coalesce((
            select s.value from jsonb_each_text(standard) s where lower(s.key) = lower(coalesce(import_begin.columns ->> h.name, h.name))
        ), import_begin.columns ->> h.name, h.name) as word
    ) w
    left join pg_attribute f on f.attrelid = into_table and f.attnum > 0 and not f.attisdropped and lower(f.attname) = lower(w.word);
    if unknown is not null then
        raise exception using errcode = 'RO031',
            message = format('the file has columns that %s has not: %s', into_table, unknown),
            detail = format('Known are %s.', roster.columns_of(into_table)),
            hint = 'roster import FILE --map HEADER=COLUMN, or --ignore HEADER';
    end if;
    if exists (select from jsonb_each_text(filled) f group by f.value having count(*) > 1) or cardinality(header) <> (select count(*) from jsonb_object_keys(filled)) then
        raise exception using errcode = 'RO031',
            message = 'two columns of the file are the same one of the table',
            detail = format('The file has %s.', array_to_string(header, ', ')),
            hint = 'roster import FILE --ignore HEADER';
    end if;
    if not exists (select from jsonb_each_text(filled) f where f.value = standard ->> 'email') then
        raise exception using errcode = 'RO031',
            message = format('the file has no column for the address (%s)', standard ->> 'email'),
            detail = format('A line finds its row by it. The file has %s.', array_to_string(header, ', ')),
            hint = format('roster import FILE --map HEADER=%s', standard ->> 'email');
    end if;
    delete from roster.import_lines l using roster.imports i where i.id = l.import_id and i.begun_at < now() - interval '1 day';
    insert into roster.imports (source, into_table, columns) values (source, into_table, filled) returning id into this;
    perform set_config('roster.import_id', this::text, false);
    return this;
end
$function$;

comment on function roster.import_begin(text, text[], jsonb) is 'Begins an import of a file with this header. Lines go to roster.import_lines then.';

create or replace view roster.import as
select null::text as email, null::text as name, null::text as role, null::text as blocked where false;

comment on view roster.import is 'What psql copies a file of users into: \copy roster.import from people.csv with (format csv, header). Then: select * from roster.import_apply();';

create or replace function roster.import_line() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    this uuid := roster.this_import();
    filled jsonb := jsonb_strip_nulls(to_jsonb(new));
    unknown text;
begin
    if this is null or not exists (select from roster.imports i where i.id = this and i.applied_at is null) then
        this := roster.import_begin(null, (
            select array_agg(c.key) from roster.settings s, jsonb_object_keys(s.import_columns) c (key) where c.key in ('email', 'name', 'role', 'blocked')));
    end if;
    select string_agg(format('%s %L', c.key, c.value), ', ') into unknown
    from roster.settings s, jsonb_each_text(filled) c where c.value <> '' and not s.import_columns ? c.key;
    if unknown is not null then
        raise exception using errcode = 'RO031',
            message = format('a line says %s, for which the table has no column', unknown),
            detail = format('Known are %s.', (select string_agg(c.key, ', ') from roster.settings s, jsonb_object_keys(s.import_columns) c (key))),
            hint = format('select roster.import_into(%L, ''{"blocked": "…"}'');', (select s.import_into from roster.settings s));
    end if;
    insert into roster.import_lines (import_id, line, cells)
    select this, 1 + coalesce((select max(l.line) from roster.import_lines l where l.import_id = this), 1),
        (select coalesce(jsonb_object_agg(c.key, c.value), '{}') from jsonb_each(filled) c where c.value <> '""');
    return new;
end
$function$;

comment on function roster.import_line() is 'Takes a line of a file that is copied into roster.import.';

create or replace trigger import_line instead of insert on roster.import for each row execute function roster.import_line();

comment on trigger import_line on roster.import is 'What is copied into the view is a line of an import.';

-- What can be said of lines without writing any.
create or replace function roster.import_judge(import_id uuid) returns void
    language plpgsql
as $function$
#variable_conflict use_variable
declare
    this roster.imports;
    header text;
begin
    select i.* into this from roster.imports i where i.id = import_id;
    select c.key into header from jsonb_each_text(this.columns) c, roster.settings s where c.value = s.import_columns ->> 'email';
    update roster.import_lines l set verdict = null, why = null where l.import_id = import_id and l.verdict in ('new', 'changed', 'same');
    update roster.import_lines l set verdict = 'bad', why = case roster.row_fault(l.cells ->> header)
            when 'email_missing' then 'it has no address'
            when 'email_too_long' then 'the address is longer than Auth0 accepts (254 characters, 64 before the @)'
            else 'this is no address'
        end
    where l.import_id = import_id and l.verdict is null and roster.row_fault(l.cells ->> header) is not null;
    update roster.import_lines l set verdict = 'bad', why = format('line %s has the same address', e.first)
    from (
        select l.line, min(l.line) over (partition by lower(l.cells ->> header)) as first
        from roster.import_lines l where l.import_id = import_id and l.verdict is null
    ) e
    where l.import_id = import_id and l.line = e.line and e.first < e.line;
end
$function$;

comment on function roster.import_judge(uuid) is 'Judges the lines of an import by themselves: an address that is none, the same one twice.';

-- Writes the lines from here to there, all or none of them.
create or replace function roster.import_write(import_id uuid, from_line integer, to_line integer) returns void
    language plpgsql
as $function$
#variable_conflict use_variable
declare
    this roster.imports;
    into_table regclass;
    email text;
    email_header text;
    names text;
    fresh text;
    kept text;
    differs text;
begin
    select i.* into this from roster.imports i where i.id = import_id;
    into_table := this.into_table::regclass;
    select c.key, c.value into email_header, email from jsonb_each_text(this.columns) c, roster.settings s where c.value = s.import_columns ->> 'email';
    -- The type without its length, so that what is too long is refused and not cut.
    select string_agg(quote_ident(c.value), ', '),
        string_agg(format('coalesce((l.cells ->> %L)::%s, %s)', c.key, format_type(a.atttypid, null),
            coalesce(case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end, 'null')), ', '),
        string_agg(format('%I = coalesce((l.cells ->> %L)::%s, t.%I)', c.value, c.key, format_type(a.atttypid, null), c.value), ', ')
            filter (where c.value <> email),
        string_agg(format('t.%I is distinct from coalesce((l.cells ->> %L)::%s, t.%I)', c.value, c.key, format_type(a.atttypid, null), c.value), ' or ')
            filter (where c.value <> email)
    into names, fresh, kept, differs
    from jsonb_each_text(this.columns) c
    join pg_attribute a on a.attrelid = into_table and a.attname = c.value and not a.attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum;

    execute format(
        'update roster.import_lines l set verdict = case f.rows when 0 then ''new'' when 1 then ''same'' else ''bad'' end, '
        '    why = case when f.rows > 1 then format(''%%s rows have this address'', f.rows) end '
        'from (select l.line, (select count(*) from %1$s t where lower(t.%2$I) = lower(l.cells ->> %3$L)) as rows '
        '    from roster.import_lines l where l.import_id = $1 and l.line between $2 and $3 and l.verdict is null) f '
        'where l.import_id = $1 and l.line = f.line', into_table, email, email_header)
    using import_id, from_line, to_line;
    if differs is not null then
        execute format(
            'with changed as ('
            '    update %1$s t set %2$s from roster.import_lines l '
            '    where l.import_id = $1 and l.line between $2 and $3 and l.verdict = ''same'' '
            '        and lower(t.%3$I) = lower(l.cells ->> %4$L) and (%5$s) '
            '    returning l.line) '
            'update roster.import_lines l set verdict = ''changed'' from changed c where l.import_id = $1 and l.line = c.line',
            into_table, kept, email, email_header, differs)
        using import_id, from_line, to_line;
    end if;
    execute format(
        'insert into %1$s (%2$s) select %3$s from roster.import_lines l '
        'where l.import_id = $1 and l.line between $2 and $3 and l.verdict = ''new'' order by l.line', into_table, names, fresh)
    using import_id, from_line, to_line;
end
$function$;

comment on function roster.import_write(uuid, integer, integer) is 'Writes lines of an import to the users table; the table''s refusal of one is a refusal of all.';

-- Writes the lines from here to there, without those that the table refuses.
create or replace function roster.import_batch(import_id uuid, from_line integer, to_line integer) returns void
    language plpgsql
as $function$
#variable_conflict use_variable
declare
    refusal text;
    detail text;
    middle integer;
begin
    begin
        perform roster.import_write(import_id, from_line, to_line);
        return;
    -- What a line can be blamed for. Everything else (rights, locks, a full disk) ends the import.
    exception when data_exception or integrity_constraint_violation or raise_exception then
        get stacked diagnostics refusal = message_text, detail = pg_exception_detail;
    end;
    select (percentile_disc(0.5) within group (order by l.line))::integer into middle
    from roster.import_lines l where l.import_id = import_id and l.line between from_line and to_line and l.verdict is null;
    if not exists (select from roster.import_lines l
        where l.import_id = import_id and l.line > middle and l.line <= to_line and l.verdict is null)
        and not exists (select from roster.import_lines l
        where l.import_id = import_id and l.line >= from_line and l.line < middle and l.verdict is null)
    then
        update roster.import_lines l set verdict = 'bad', why = refusal || coalesce(': ' || nullif(detail, ''), '')
        where l.import_id = import_id and l.line = middle;
        return;
    end if;
    perform roster.import_batch(import_id, from_line, middle);
    perform roster.import_batch(import_id, middle + 1, to_line);
end
$function$;

comment on function roster.import_batch(uuid, integer, integer) is 'Writes lines of an import to the users table and gives each its verdict; the caller commits.';

create or replace function roster.import_finish(import_id uuid, skip_bad boolean, out new integer, out changed integer, out same integer, out bad integer)
    language plpgsql
as $function$
#variable_conflict use_column
declare
    first_bad record;
begin
    select count(*) filter (where l.verdict = 'new'), count(*) filter (where l.verdict = 'changed'),
        count(*) filter (where l.verdict = 'same'), count(*) filter (where l.verdict = 'bad')
    into new, changed, same, bad
    from roster.import_lines l where l.import_id = import_finish.import_id;
    if bad > 0 and not skip_bad then
        select l.line, l.why into first_bad from roster.import_lines l
        where l.import_id = import_finish.import_id and l.verdict = 'bad' order by l.line limit 1;
        raise exception using errcode = 'RO032',
            message = format('%s of %s lines are bad, so nothing is imported', bad, new + changed + same + bad),
            detail = format('Line %s: %s', first_bad.line, first_bad.why),
            hint = 'select * from roster.import_check() where verdict = ''bad''; or leave them out: select * from roster.import_apply(skip_bad => true);';
    end if;
    perform roster.import_applied(import_finish.import_id, new, changed, same, bad);
end
$function$;

comment on function roster.import_finish(uuid, boolean) is 'Ends an import whose lines all have their verdict; a bad one refuses it, unless bad ones are to be left out.';

create or replace function roster.import_applied(import_id uuid, new integer, changed integer, same integer, bad integer) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    update roster.imports i set applied_at = now(), applied_txid = pg_current_xact_id(), new = new, changed = changed, same = same, bad = bad
    where i.id = import_id and i.applied_at is null;
    if not found then
        raise exception using errcode = 'RO033',
            message = 'this import was applied already', detail = format('It is %s.', import_id), hint = 'select * from roster.imports order by begun_at desc;';
    end if;
    delete from roster.import_lines l where l.import_id = import_id and l.verdict <> 'bad';
end
$function$;

comment on function roster.import_applied(uuid, integer, integer, integer, integer) is 'Remembers what became of an import, and lets its lines go.';

-- How many lines are one statement on the users table.
create or replace function roster.import_all(import_id uuid) returns void
    language plpgsql
as $function$
#variable_conflict use_variable
declare
    piece record;
begin
    if import_id is null or not exists (select from roster.imports i where i.id = import_id) then
        raise exception using errcode = 'RO033',
            message = 'this session has copied no file',
            detail = 'Lines are kept by session until they are applied.',
            hint = '\copy roster.import from people.csv with (format csv, header)';
    end if;
    perform roster.import_judge(import_id);
    for piece in
        select min(n.line) as from_line, max(n.line) as to_line
        from (select l.line, (row_number() over (order by l.line) - 1) / 1000 as number from roster.import_lines l where l.import_id = import_id) n
        group by n.number order by n.number
    loop
        perform roster.import_batch(import_id, piece.from_line, piece.to_line);
    end loop;
end
$function$;

comment on function roster.import_all(uuid) is 'Writes all lines of an import and gives each its verdict.';

create or replace function roster.import_apply(
    skip_bad boolean default false, import_id uuid default roster.this_import(),
    out new integer, out changed integer, out same integer, out bad integer
)
    language plpgsql
as $function$
#variable_conflict use_column
begin
    perform roster.import_all(import_apply.import_id);
    select f.* into new, changed, same, bad from roster.import_finish(import_apply.import_id, skip_bad) f;
    perform set_config('roster.import_id', '', false);
end
$function$;

comment on function roster.import_apply(boolean, uuid) is
    'Writes the copied lines to the users table, in the caller''s transaction: all of them, or with skip_bad => true those that are not bad. Says how many are new, changed, same and bad.';

create or replace function roster.import_check(import_id uuid default roster.this_import(), out line integer, out verdict text, out why text, out cells jsonb)
    returns setof record
    language plpgsql
as $function$
#variable_conflict use_column
declare
    judged roster.import_lines[];
begin
    begin
        perform roster.import_all(import_check.import_id);
        set constraints all immediate;
        judged := array(select l from roster.import_lines l where l.import_id = import_check.import_id order by l.line);
        raise exception using errcode = 'RO000', message = 'taken back';
    exception when sqlstate 'RO000' then
        null;
    end;
    return query select j.line, j.verdict, j.why, j.cells from unnest(judged) j;
end
$function$;

comment on function roster.import_check(uuid) is 'What each copied line would do: new, changed, same, or bad and why. Writes the lines to see what the table says, and takes it back.';
