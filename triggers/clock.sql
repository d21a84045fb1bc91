-- Clock: what to do when the database's time of day was set back.
--
-- Guarantees: what was to wait for a moment that was near does not wait until the clock is there again. A heartbeat that seems to come
-- from the future tells by how much it was set back, since each reactor writes one every second. What has happened (a mail, a
-- removal) is moved back by as much, or the limits that count it would count it for hours; what is to come (a lease's end, the next try,
-- a call's deadline) as well if it is more than ten minutes off, which no lease or call takes. History is left as it was written.
-- A clock that was set forward needs nothing: leases and deadlines end early, which is what they are made for.
create or replace function roster.heed_the_clock() returns interval
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    back interval;
begin
    if not exists (select from roster.reactors where heartbeat_at > now() + interval '1 minute') then
        return null;
    end if;
    -- Of several reactors that notice one moves the times, and the others find it done.
    perform from roster.reactors order by id for update;
    select max(heartbeat_at) - now() into back from roster.reactors where heartbeat_at > now() + interval '1 minute';
    if back is null then
        return null;
    end if;
    update roster.reactors
    set heartbeat_at = least(heartbeat_at, now()), beating_since = least(beating_since, now()), last_listen_at = least(last_listen_at, now()),
        last_sweep_at = least(last_sweep_at, now()), bell_heard_at = least(bell_heard_at, now());
    update roster.mirror
    set due_since = case when due_since > now() then due_since - back else due_since end,
        removed_at = case when removed_at > now() then removed_at - back else removed_at end,
        lease_until = case when lease_until > now() + interval '10 minutes' then lease_until - back else lease_until end,
        next_attempt_at = case when next_attempt_at > now() + interval '10 minutes' then next_attempt_at - back else next_attempt_at end
    where due_since > now() or removed_at > now()
        or lease_until > now() + interval '10 minutes' or next_attempt_at > now() + interval '10 minutes';
    update roster.accounts
    set removed_at = case when removed_at > now() then removed_at - back else removed_at end,
        doubted_at = case when doubted_at > now() then doubted_at - back else doubted_at end,
        call_deadline = case when call_deadline > now() + interval '10 minutes' then call_deadline - back else call_deadline end
    where removed_at > now() or doubted_at > now() or call_deadline > now() + interval '10 minutes';
    update roster.invitations set changed_at = changed_at - back where changed_at > now();
    return back;
end
$function$;

revoke execute on function roster.heed_the_clock() from public;

comment on function roster.heed_the_clock() is
    'After the database''s clock was set back: moves what is timed along with it, and says by how much. Null: it was not.';
