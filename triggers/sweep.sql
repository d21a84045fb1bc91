-- Sweep: the whole plan is read, and whoever has something to do is made due. It finds what no trigger saw.
--
-- Guarantees: users that nobody saw being inserted (a widened view, a disabled trigger) become baseline: they are looked at in Auth0
-- before anything is created, and their invitations are staged. An account that was in doubt is looked at again. A user who is due
-- already is left so. Who waits for a person while roster.stuck does not say so is due too, and the other way round. During a pause
-- those count whom the pause holds up, so that its end need not look at everybody.
create or replace function roster.sweep(out made_due integer)
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    paused constant boolean := (select s.paused_at is not null from roster.settings s);
    stuck_otherwise text[];
begin
    -- Who was mailed a link before the block may set a password with it, and that may lift the block (Auth0 does not say): each block is
    -- looked at again some times, until such a link has expired (after 5 days).
    -- A ban that somebody else made of somebody who is to be blocked is looked at every day: once lifted, Roster's own has to follow.
    with blocked as (
        select m.user_key, a.auth0_user_id
        from roster.accounts a join roster.mirror m on m.user_key = a.user_key
        where a.state = 'linked' and a.call_id is null and case
            when a.blocked_by_us then a.removed_at > now() - interval '6 days' and exists (
                select from unnest('{10 minutes, 1 hour, 1 day, 5 days}'::interval[]) t (later)
                where a.removed_at + t.later <= now() and a.observed_at < a.removed_at + t.later
            )
            when a.blocked then a.observed_at < now() - interval '1 day' and not exists (
                select from roster.desired_users d where d.user_key = a.user_key and a.incarnation = m.incarnation and d.blocked is not true
            )
        end
        for update of m skip locked
    )
    update roster.accounts a set observed_at = null
    from blocked
    where a.auth0_user_id = blocked.auth0_user_id and a.call_id is null;

    insert into roster.mirror (user_key, email, baseline, look_wanted, lane, due, due_since)
    select d.user_key, lower(d.email), true, true, 'bulk', true, now()
    from roster.desired_users d
    where not exists (select from roster.mirror m where m.user_key = d.user_key)
        and d.user_key not in (select n.user_key from roster.news n)
    on conflict (user_key) do nothing;
    get diagnostics made_due = row_count;

    update roster.mirror m set removed_by = 'unseen', removed_at = now()
    where m.removed_at is null
        and exists (select from roster.accounts a where a.user_key = m.user_key and a.state <> 'gone')
        and not exists (select from roster.desired_users d where d.user_key = m.user_key);
    update roster.mirror m set removed_by = null, removed_at = null, removed_txid = null, removal_verdict = null
    where m.removed_at is not null
        and exists (select from roster.desired_users d where d.user_key = m.user_key)
        and m.user_key not in (select n.user_key from roster.news n);
    -- A person's verdict is of one removal: where none is wanted any more, the next one is another question. Who is removed by a table
    -- that names nobody, such as one of departments, is never news of his own.
    update roster.mirror m set removal_verdict = null
    where m.removal_verdict is not null and m.removed_at is null
        and exists (select from roster.desired_users d where d.user_key = m.user_key and d.blocked is not true)
        and not exists (
            select from roster.accounts a cross join roster.settings s
            where a.user_key = m.user_key and a.incarnation <> m.incarnation and a.state in ('linked', 'missing')
                and (not a.blocked or s.delete_after is not null)
        );

    with doubled as (
        select d.user_key from roster.desired_users d group by d.user_key having count(*) > 1
    )
    update roster.mirror m set disputed = case when x.user_key is not null then 'key_doubled' end
    from roster.mirror o left join doubled x on x.user_key = o.user_key
    where m.user_key = o.user_key
        and case when x.user_key is null then o.disputed = 'key_doubled' else o.disputed is null end;

    -- A call whose end nobody saw may be applied after the look that was to tell: looked at once more when that cannot be any longer.
    -- Who is at work is left for the next time, so that nobody waits.
    with quiet as (
        select m.user_key
        from roster.mirror m join roster.accounts a on a.user_key = m.user_key
        where a.doubted_at < now() - interval '1 minute' and not m.due
        for update of m skip locked
    )
    update roster.accounts a set observed_at = null, doubted_at = null,
        -- Whose row had gone before the create was applied is there, maybe, and not blocked; unless the person has another by now.
        state = case
            when a.state = 'linked' or exists (
                select from roster.accounts now where now.user_key = a.user_key and now.incarnation = a.incarnation and now.origin <> 'further'
                    and now.state <> 'gone' and now.auth0_user_id <> a.auth0_user_id) then a.state
            else 'missing' end
    from quiet
    where a.user_key = quiet.user_key and a.doubted_at < now() - interval '1 minute' and a.call_id is null and a.state in ('linked', 'chosen', 'gone')
        -- One after the other.
        and not exists (
            select from roster.accounts earlier where earlier.user_key = a.user_key and earlier.incarnation = a.incarnation
                and earlier.state = 'gone' and (earlier.doubted_at, earlier.auth0_user_id) < (a.doubted_at, a.auth0_user_id));

    -- Who is at work may end it without another look at the plan, unless the generation says that there was news.
    with at_work as materialized (
        select m.user_key from roster.mirror m where m.lease_by is not null order by m.user_key for update
    )
    update roster.mirror m set generation = m.generation + 1 from at_work w where m.user_key = w.user_key;

    with planned as materialized (
        select p.user_key, p.auth0_user_id, p.action, p.state, p.code, p.lane
        from roster.plan p
        where p.state in ('due', 'suppressed', 'held', 'disputed', 'parked')
    ),
    -- Whom a person is to decide about, and it is not told so; or the other way round: the reactor finds out and tells.
    told as (
        select s.user_key, s.auth0_user_id, s.action, s.state, s.code from roster.stuck s
    ),
    to_tell as (
        select p.user_key, p.auth0_user_id, p.action, p.state, p.code
        from planned p where roster.is_stuck(p.state, p.action)
    ),
    untold as (
        (select * from to_tell except all select * from told)
        union all
        (select * from told except all select * from to_tell)
    ),
    wanted as (
        select w.user_key, min(w.lane::roster.lane) as lane
        from (
            select p.user_key, p.lane from planned p
            where p.state = 'due' or p.state = 'suppressed' and paused
            union all
            select u.user_key, case when u.state = 'held' then 'removal' else 'update' end from untold u
        ) w
        group by w.user_key
    ),
    crowd as (
        select count(*) > 200 as is_one from wanted
    ),
    marked as (
        update roster.mirror m
        set due = true, due_since = now(), generation = m.generation + 1,
            lane = case when crowd.is_one and w.lane <> 'removal' then 'bulk' else w.lane end
        from wanted w cross join crowd
        where m.user_key = w.user_key and not m.due
        returning 1
    ),
    -- Who is due already, such as for a mail that waits for its pace, goes first from now on if it is a removal.
    first as (
        update roster.mirror m
        set lane = 'removal', next_attempt_at = case when m.error_code is not null then m.next_attempt_at end
        from wanted w
        where m.user_key = w.user_key and w.lane = 'removal' and m.due and m.lane <> 'removal'
    )
    select made_due + count(*), (select array_agg(distinct u.user_key) from untold u) into made_due, stuck_otherwise from marked;
    if paused then
        perform roster.note_stuck(stuck_otherwise);
    end if;
end
$function$;

revoke execute on function roster.sweep() from public;

comment on function roster.sweep() is 'Compares everybody with what Auth0 last showed and makes due whoever differs. Says how many that were.';
