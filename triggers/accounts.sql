-- Whose account: what tells the authorization servers that it has changed.
--
-- Adds: triggers on roster.accounts and roster.mirror that append to roster.account_changes.
-- Guarantees: whatever a look-up by account reads of these two tables leaves a row there, in the same transaction, whoever writes.
-- Costs the reactor one narrow row where an account is made, let go or given another address, and where a key becomes another
-- person's; nothing rings, since the poll of the authorization servers (1 s) is soon enough for what is no change to a user.
create or replace function roster.note_account() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    insert into roster.account_changes (user_keys) values (
        case tg_op when 'INSERT' then array[new.user_key] when 'DELETE' then array[old.user_key] when 'UPDATE' then array[old.user_key, new.user_key] end
    );
    return null;
end
$function$;

revoke execute on function roster.note_account() from public;

create or replace trigger note_insert after insert on roster.accounts
    for each row execute function roster.note_account();
create or replace trigger note_delete after delete on roster.accounts
    for each row execute function roster.note_account();
create or replace trigger note_update after update on roster.accounts
    for each row
    when ((old.auth0_user_id, old.user_key, old.incarnation, old.origin, old.state = 'gone', old.email)
        is distinct from (new.auth0_user_id, new.user_key, new.incarnation, new.origin, new.state = 'gone', new.email))
    execute function roster.note_account();
create or replace trigger note_truncate after truncate on roster.accounts
    for each statement execute function roster.note_account();
create or replace trigger note_insert after insert on roster.mirror
    for each row when (new.incarnation > 1) execute function roster.note_account();
create or replace trigger note_delete after delete on roster.mirror
    for each row execute function roster.note_account();
create or replace trigger note_update after update on roster.mirror
    for each row
    when ((old.user_key, old.incarnation, old.email, old.disputed is null)
        is distinct from (new.user_key, new.incarnation, new.email, new.disputed is null))
    execute function roster.note_account();
create or replace trigger note_truncate after truncate on roster.mirror
    for each statement execute function roster.note_account();

alter table roster.accounts enable always trigger note_insert, enable always trigger note_delete,
    enable always trigger note_update, enable always trigger note_truncate;
alter table roster.mirror enable always trigger note_insert, enable always trigger note_delete,
    enable always trigger note_update, enable always trigger note_truncate;

comment on function roster.note_account() is
    'Appends to roster.account_changes whose account has changed; the authorization servers read it beside roster.changes.';
do $$
declare
    noted record;
begin
    for noted in
        select t.tgname, t.tgrelid::regclass as relation
        from pg_catalog.pg_trigger t
        where t.tgrelid in ('roster.accounts'::regclass, 'roster.mirror'::regclass) and t.tgname like 'note\_%'
    loop
        execute pg_catalog.format(
            'comment on trigger %I on %s is %L', noted.tgname, noted.relation,
            'Tells the authorization servers that it may be another user''s account by now.'
        );
    end loop;
end
$$;
