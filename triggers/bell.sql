-- The bell: one NOTIFY at commit, rung by one of those who commit at about the same moment.
--
-- Adds: a deferred constraint trigger on roster.changes.
-- Guarantees: whoever commits a change either rings or knows that somebody else is ringing in the same 20 ms. It cannot fail.
-- Costs: a NOTIFYing commit holds a lock of the whole cluster through its flush, so all but one in 20 ms do not.
-- Accepted: the ringer may still roll back or die after others relied on it. Every listener looks again a few times after a wake,
-- and polls anyway; the poll interval is the bound.
create or replace function roster.ring() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if current_setting('roster.bell', true) = 'off' or pg_notification_queue_usage() > 0.5 then
        return null;
    end if;
    -- A serializable transaction may still fail after this point, so nobody may rely on it: it neither takes nor trusts the lock.
    if current_setting('transaction_isolation') = 'serializable'
        or pg_try_advisory_xact_lock(
            1380930373, -- 'ROSE': the bell's own space of advisory locks
            ((extract(epoch from clock_timestamp()) * 50)::bigint & 2147483647)::integer
        )
    then
        perform pg_notify('roster', '');
    end if;
    return null;
end
$function$;

revoke execute on function roster.ring() from public;

drop trigger if exists ring on roster.changes;
create constraint trigger ring
    after insert on roster.changes
    deferrable initially deferred
    for each row execute function roster.ring();
alter table roster.changes enable always trigger ring;

comment on function roster.ring() is
    'Wakes the reactors at commit: NOTIFY roster, at most once in 20 ms for all writers together. SET roster.bell = off silences it (two-phase commit).';
comment on trigger ring on roster.changes is 'Wakes the reactors at commit.';
