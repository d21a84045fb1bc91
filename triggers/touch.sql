-- users.updated_at follows every update, except that of the id which Roster itself writes back.
create or replace function roster.touch() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    new.updated_at := localtimestamp;
    return new;
end
$function$;

revoke execute on function roster.touch() from public;

comment on function roster.touch() is 'Sets updated_at of the row that is updated.';
