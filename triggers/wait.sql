-- wait: returns when the caller's last commit has reached Auth0.
create or replace function roster.wait(
    timeout interval default '30 seconds',
    out converged boolean, out users integer, out held integer, out failed integer, out suppressed integer, out waited interval
)
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    since constant timestamptz := clock_timestamp();
    nap double precision := 0.01;
    last_txid xid8;
    keys text[];
    everybody boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'RO009',
            message = 'roster.wait() cannot see other transactions'' work at this isolation level',
            detail = format('This transaction is %s.', current_setting('transaction_isolation')),
            hint = 'commit; select * from roster.wait();';
    end if;
    select c.txid into last_txid from roster.changes c
    -- A process id comes around again, so what it wrote before this session began is another's. When that was is shown only to who may
    -- see this session, hence no SECURITY DEFINER; after SET ROLE the user has to do.
    where c.backend_pid = pg_backend_pid() and c.changed_by = session_user
        and c.changed_at >= coalesce(
            (select backend_start from pg_stat_activity where pid = pg_backend_pid()), pg_postmaster_start_time()
        )
    order by c.id desc limit 1;
    if last_txid = pg_current_xact_id_if_assigned() then
        raise exception using errcode = 'RO010',
            message = 'this transaction has changes that are not committed',
            detail = 'Nobody else can see them, so they can never reach Auth0 while this call waits.',
            hint = 'commit; select * from roster.wait();';
    end if;
    select array_agg(distinct k.user_key) filter (where k.user_key is not null), coalesce(bool_or(c.user_keys is null), false)
    into keys, everybody
    from roster.changes c left join lateral unnest(c.user_keys) k (user_key) on true
    where c.txid = last_txid;

    loop
        select not exists (select from roster.changes c where c.txid = last_txid and c.folded_at is null)
            and not exists (select from roster.mirror m where m.due and (everybody or m.user_key = any (keys)))
        into converged;
        exit when converged or clock_timestamp() - since >= timeout;
        perform pg_sleep(nap);
        nap := least(nap * 1.5, 0.25);
    end loop;

    users := case when everybody then (select count(*) from roster.mirror) else coalesce(cardinality(keys), 0) end;
    -- Two statements, since a filter that may be none reaches no index.
    if everybody then
        select count(*) filter (where p.state = 'held'), count(*) filter (where p.state in ('parked', 'disputed')),
            count(*) filter (where p.state = 'suppressed')
        into held, failed, suppressed from roster.plan p;
    else
        select count(*) filter (where p.state = 'held'), count(*) filter (where p.state in ('parked', 'disputed')),
            count(*) filter (where p.state = 'suppressed')
        into held, failed, suppressed from roster.plan p where p.user_key = any (keys);
    end if;
    converged := converged and held = 0 and failed = 0 and suppressed = 0;
    waited := clock_timestamp() - since;
end
$function$;

revoke execute on function roster.wait(interval) from public;

comment on function roster.wait(interval) is
    'Waits until the last commit of this connection has reached Auth0, at most so long; says for how many users, how many are held or failed, and how long it took.';
