-- Who may do what. Roles are made where this user may make them; otherwise migrate prints the statements for someone who may.
--
-- roster_owner (NOLOGIN) owns what Roster made, so that captures run with its rights and nobody logs in as it.
-- roster_reactor, roster_server, roster_reader and roster_operator (NOLOGIN) are granted to the log-ins you make.
-- Whoever edits users needs no right here at all.
do $$
declare
    me constant text := current_user;
    thing record;
begin
    if not exists (select from pg_roles where rolname = 'roster_owner') or not pg_has_role(me, 'roster_owner', 'member') then
        return;
    end if;
    execute format('grant usage, create on schema roster to roster_owner');
    grant select on roster.desired_users to roster_owner;
    for thing in
        select c.relname, c.relkind from pg_class c
        where c.relnamespace = 'roster'::regnamespace and c.relkind in ('r', 'v') and c.relname not in ('desired_users', 'migrations')
            and pg_get_userbyid(c.relowner) <> 'roster_owner'
    loop
        execute format('alter %s roster.%I owner to roster_owner', case thing.relkind when 'v' then 'view' else 'table' end, thing.relname);
    end loop;
    for thing in
        select p.oid::regprocedure as name from pg_proc p
        where p.pronamespace = 'roster'::regnamespace and p.proname <> 'write_back'
            and p.proname not in ('watch', 'unwatch', 'detach', 'attach') and pg_get_userbyid(p.proowner) <> 'roster_owner'
    loop
        execute format('alter function %s owner to roster_owner', thing.name);
    end loop;
    if exists (select from pg_type where typname = 'lane' and typnamespace = 'roster'::regnamespace and pg_get_userbyid(typowner) <> 'roster_owner') then
        alter type roster.lane owner to roster_owner;
    end if;
    -- Whoever migrates goes on managing what it watches.
    execute format('grant all on all tables in schema roster to %I', me);
end
$$;

do $$
begin
    if exists (select from pg_roles where rolname = 'roster_reactor') then
        grant usage on schema roster to roster_reactor;
        grant select, insert, update, delete on all tables in schema roster to roster_reactor;
        grant execute on all functions in schema roster to roster_reactor;
        -- An audit keeps what it reads in temporary tables; mostly everybody may.
        if has_database_privilege(current_database(), 'temporary with grant option') then
            execute format('grant temporary on database %I to roster_reactor', current_database());
        end if;
        revoke execute on function roster.watch(regclass, text, text[], text), roster.unwatch(regclass), roster.detach(), roster.attach()
            from roster_reactor;
    end if;
    if exists (select from pg_roles where rolname = 'roster_server') then
        grant usage on schema roster to roster_server;
        grant select on roster.desired_users, roster.mirror, roster.accounts, roster.changes, roster.account_changes, roster.watched,
            roster.capture_off, roster.settings to roster_server;
        grant execute on function roster.follow(text, text, text), roster.revision() to roster_server;
    end if;
    if exists (select from pg_roles where rolname = 'roster_reader') then
        grant usage on schema roster to roster_reader;
        grant select on all tables in schema roster to roster_reader;
        grant execute on function
            roster.revision(), roster.wait(interval), roster.find_users(text), roster.explain(text, text), roster.explain_user(text, text),
            roster.next_step(text, text, text, text), roster.changes_of(text), roster.history_of(text), roster.history_of_transaction(xid8, text, integer)
        to roster_reader;
    end if;
    if exists (select from pg_roles where rolname = 'roster_operator') then
        grant usage on schema roster to roster_operator;
        grant select on all tables in schema roster to roster_operator;
        grant execute on function
            roster.find_users(text), roster.resync(text), roster.resync_all(), roster.retry_failed(text), roster.pause(text), roster.resume(),
            roster.set_mode(text), roster.release_held(text), roster.discard_held(text), roster.link(text, text), roster.unlink(text),
            roster.invite(text), roster.revision(), roster.wait(interval), roster.explain(text, text), roster.explain_user(text, text),
            roster.next_step(text, text, text, text), roster.changes_of(text), roster.history_of(text), roster.history_of_transaction(xid8, text, integer),
            roster.audit(), roster.find_drift(text), roster.revert_drift(text), roster.ignore_drift(text), roster.adopt_drift(text),
            roster.follow(text, text, text),
            roster.import_into(regclass, jsonb), roster.import_begin(text, text[], jsonb), roster.this_import(), roster.columns_of(regclass),
            roster.import_judge(uuid), roster.import_write(uuid, integer, integer), roster.import_batch(uuid, integer, integer),
            roster.import_all(uuid), roster.import_finish(uuid, boolean), roster.import_applied(uuid, integer, integer, integer, integer),
            roster.import_apply(boolean, uuid), roster.import_check(uuid)
        to roster_operator;
        -- What an import writes in the users table it writes with the operator's own rights there.
        grant insert on roster.import, roster.imports to roster_operator;
        grant insert, update, delete on roster.import_lines to roster_operator;
        -- The console notes down how far it is with one, and what its lines would do.
        grant update (step, step_done, step_of, step_at, error, new, changed, same, bad) on roster.imports to roster_operator;
    end if;
end
$$;

comment on schema roster is 'Roster: mirrors users to Auth0 and answers who may do what. Start with: select * from roster.status;';
