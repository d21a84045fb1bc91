-- Fold: takes new changes over into roster.mirror, in order, many changes of one user into one.
--
-- Guarantees: one folder at a time (an advisory lock), so the order of each user's changes is kept; a change is folded in the transaction that
-- marks it folded; each fold raises the generation of the users it names, so that a result of an older look cannot end the new one.
--
-- Who is the same person is decided here, since it needs history: a key whose row was deleted and inserted again by one transaction, or
-- with the same address, means the same person still; otherwise the key starts a new incarnation, and the old account is another's.
-- So it does where one transaction moved people between keys, as its other rows or the ids in them show: nobody gets an account of
-- somebody else's by that.
-- The row is read as it is now, which may be later than the changes at hand: while a coming or going of a key is still to be folded, the
-- address remembered for it stays.
--
-- A row of the mirror that a person's transaction holds is gone around: what concerns that user, and whoever the same changes concern,
-- waits. So does all from the first truncation on, which concerns everybody.
create or replace function roster.fold(batch integer default 500, out folded integer, out looked_at_everybody boolean)
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    ids bigint[];
    named_keys text[];
    -- Users whose rows somebody holds, and whom their changes tie to others.
    held text[] := '{}';
    more text[];
    free text[];
    is_done boolean := false;
    patience constant text := current_setting('lock_timeout');
    -- A statement that concerns more users than this goes to the bulk lane; more new ones in a transaction are invited on demand.
    mass constant integer := 200;
begin
    folded := 0;
    looked_at_everybody := false;
    if not pg_try_advisory_xact_lock(1380930374, 1) then
        return; -- another reactor is folding and will see what we see
    end if;

    -- A person's open transaction may hold a user's row, for long: what concerns that user waits for it, and nobody else's changes do.
    for tries in 1 .. 5 loop
        select array_agg(c.id), count(*), coalesce(bool_or(c.user_keys is null), false)
        into ids, folded, looked_at_everybody
        from (
            select u.id, u.user_keys
            from roster.changes u
            where u.folded_at is null and (held = '{}' or not coalesce(u.user_keys && held, false) and u.id < coalesce(
                (select min(t.id) from roster.changes t where t.folded_at is null and t.of_users and t.op = 'truncate'), u.id + 1))
            order by u.id limit batch
        ) c;
        if folded = 0 then
            return;
        end if;
        begin
            -- Longer than any reactor holds one.
            perform set_config('lock_timeout', '1s', true);
            insert into roster.mirror as m (
                user_key, incarnation, email, removed_txid, removed_by, removed_at, removal_verdict, disputed, baseline, look_wanted, lane, due, due_since
            )
            with change as materialized (
                -- The number of keys is read once here: asked beside unnest() it would be read out of the whole array for each of them.
                select c.*, cardinality(c.user_keys) > mass as is_mass, coalesce(brought.users > mass, false) as brings_a_bulk
                from roster.changes c
                -- In one statement or in many: whoever loads many people does it in one transaction.
                left join (
                    select whole.txid, sum(cardinality(case when whole.op = 'insert' then whole.user_keys else whole.keys_added end)) as users
                    from roster.changes whole
                    where whole.of_users and whole.txid in (select part.txid from roster.changes part where part.id = any (ids))
                    group by whole.txid
                ) brought on brought.txid = c.txid
                -- That Roster itself wrote an id back is no news.
                where c.id = any (ids) and not exists (select from roster.accounts a where a.written_back_txid = c.txid)
            ),
            event as (
                select c.id, c.op, c.txid, c.changed_at, k.user_key, 'added' as kind, null as removed_by, c.brings_a_bulk
                from change c cross join unnest(case when c.op = 'insert' then c.user_keys else c.keys_added end) k (user_key)
                where c.of_users
                union all
                select c.id, c.op, c.txid, c.changed_at, k.user_key, 'removed', case when c.op = 'delete' then 'delete' else 'key change' end, false
                from change c cross join unnest(case when c.op = 'delete' then c.user_keys else c.keys_removed end) k (user_key)
                where c.of_users
                union all
                select c.id, c.op, c.txid, c.changed_at, gone.user_key, 'removed', 'truncate', false
                from change c cross join roster.mirror gone
                where c.of_users and c.op = 'truncate' and gone.removed_txid is null
                union all
                select c.id, c.op, c.txid, c.changed_at, k.user_key, case when c.is_mass then 'in mass' else 'named' end, null, false
                from change c cross join unnest(c.user_keys) k (user_key)
            ),
            -- Each coming and going beside the one before it; before the first one stands what the mirror remembers.
            coming_and_going as (
                select e.*,
                    coalesce(lag(e.txid) over before_it, old.removed_txid) as txid_before,
                    coalesce(lag(e.kind) over before_it, case when old.removed_txid is not null then 'removed' end) as kind_before,
                    row_number() over (partition by e.user_key order by e.id desc) as from_the_end
                from event e left join roster.mirror old on old.user_key = e.user_key
                where e.kind in ('added', 'removed')
                window before_it as (partition by e.user_key order by e.id)
            ),
            turned as (
                select user_key,
                    bool_or(kind = 'added' and kind_before = 'removed' and txid_before <> txid) as came_back,
                    bool_or(kind = 'added' and kind_before = 'removed' and txid_before = txid) as came_back_at_once,
                    bool_or(kind = 'added' and brings_a_bulk) as came_in_bulk,
                    max(kind) filter (where from_the_end = 1) as last_kind,
                    max(txid::text) filter (where from_the_end = 1) as last_txid,
                    max(changed_at) filter (where from_the_end = 1) as last_at,
                    max(removed_by) filter (where from_the_end = 1) as last_removed_by
                from coming_and_going
                group by user_key
            ),
            -- Comings and goings that this statement sees, but that are for a later fold.
            later as materialized (
                select k.user_key
                from roster.changes c
                cross join unnest(case when c.op in ('insert', 'delete') then c.user_keys else c.keys_added || c.keys_removed end) k (user_key)
                where c.folded_at is null and c.of_users and c.id not in (select id from change)
                union
                select old.user_key
                from roster.mirror old
                where exists (
                    select from roster.changes c
                    where c.folded_at is null and c.of_users and c.op = 'truncate' and c.id not in (select id from change)
                )
            ),
            named as (
                select user_key, bool_and(kind <> 'named') and bool_or(kind = 'in mass') as in_mass, min(changed_at) as since,
                    -- A control function says "look again"; it is no news about who the person is, unless a person linked it.
                    bool_or(op in ('insert', 'update', 'delete', 'truncate', 'link')) as is_news
                from event
                group by user_key
            ),
            seen as (
                select n.user_key, n.in_mass, n.since, old.user_key is null as is_new, d.user_key is not null as is_desired, d.blocked,
                    later.user_key is not null as more_comes, coalesce(t.came_in_bulk, false) as came_in_bulk,
                    lower(d.email) as row_email, old.email as old_email, n.is_news, t.last_kind,
                    case when not n.is_news then old.removal_verdict end as removal_verdict,
                    -- Outside the view's scope it cannot be told from its address, so it counts as another.
                    (t.came_back or moved.is_so) and lower(d.email) is distinct from coalesce(old.email, lower(own.email)) as is_another_person,
                    case
                        when d.user_key is not null and (later.user_key is null or t.last_kind = 'added') then null
                        when d.user_key is not null and t.last_kind is null then old.removed_by
                        when t.last_kind = 'removed' then t.last_removed_by
                        when t.last_kind = 'added' then 'scope'
                        else coalesce(old.removed_by, 'scope')
                    end as removed_by,
                    case t.last_kind when 'removed' then t.last_txid::xid8 when 'added' then null else old.removed_txid end as removed_txid,
                    case when t.last_kind = 'removed' then t.last_at else coalesce(old.removed_at, now()) end as removed_at,
                    coalesce(old.incarnation, 1) as incarnation,
                    -- A person said so, and roster.link() alone takes it back.
                    case when old.disputed = 'unlinked' then old.disputed end as unlinked,
                    count(*) over (partition by n.user_key) > 1 as is_doubled
                from named n
                left join roster.mirror old on old.user_key = n.user_key
                left join roster.desired_users d on d.user_key = n.user_key
                left join turned t on t.user_key = n.user_key
                left join later on later.user_key = n.user_key
                left join roster.accounts own on own.user_key = n.user_key and own.incarnation = old.incarnation
                    and own.origin <> 'further' and own.state <> 'gone'
                -- Of a row with another address than before, whose id is not that of its own account still.
                left join lateral (
                    select exists (
                        -- It names the account of somebody else: the one that has its address, or where a row went and came any.
                        select from roster.accounts a
                        where a.auth0_user_id = d.auth0_user_id and a.state <> 'gone'
                            and (a.user_key, a.incarnation) <> (n.user_key, old.incarnation)
                            and (coalesce(t.came_back_at_once, false) or lower(a.email) = lower(d.email))
                    ) or coalesce(t.came_back_at_once, false) and (
                        -- Who had the key before has another one by now.
                        exists (
                            select from turned o join roster.desired_users od on od.user_key = o.user_key
                            where o.last_kind = 'added' and o.user_key <> n.user_key
                                and (lower(od.email) = old.email or od.auth0_user_id = own.auth0_user_id)
                        )
                        -- The address is that of an account whose user is gone.
                        or exists (
                            select from roster.accounts a join roster.mirror am on am.user_key = a.user_key
                            where lower(a.email) = lower(d.email) and a.state in ('linked', 'missing') and a.origin <> 'further'
                                and a.user_key <> n.user_key
                                and (a.incarnation <> am.incarnation
                                    or not exists (select from roster.desired_users ad where ad.user_key = a.user_key))
                        )
                    ) as is_so
                    where old.user_key is not null and lower(d.email) is distinct from old.email
                        and (own.auth0_user_id is null or own.auth0_user_id is distinct from d.auth0_user_id)
                        and (d.auth0_user_id is not null or t.came_back_at_once)
                ) moved on true
                -- A key without row, mirror or account concerns nobody.
                where old.user_key is not null or d.user_key is not null
            )
            -- Where the view shows a key twice, a person has to mend the view; nobody else waits for that.
            select distinct on (s.user_key) s.user_key,
                s.incarnation + coalesce(s.is_another_person, false)::integer,
                case
                    when s.is_another_person then coalesce(s.row_email, s.old_email)
                    when s.more_comes or s.last_kind = 'removed' then s.old_email
                    when s.is_news or s.old_email is null then coalesce(s.row_email, s.old_email)
                    else s.old_email
                end,
                case when s.removed_by is not null then s.removed_txid end,
                s.removed_by,
                case when s.removed_by is not null then s.removed_at end,
                s.removal_verdict,
                case when s.is_doubled then 'key_doubled' when not coalesce(s.is_another_person, false) then s.unlinked end,
                (s.is_new or coalesce(s.is_another_person, false)) and (settings.mode = 'observe' or s.came_in_bulk),
                (s.is_new or coalesce(s.is_another_person, false)) and s.blocked is true or s.is_new and settings.mode = 'observe',
                case
                    when not s.is_desired or s.blocked or s.is_another_person then 'removal'
                    when s.in_mass then 'bulk'
                    when exists (
                        select from roster.accounts a
                        where a.user_key = s.user_key and a.incarnation = s.incarnation and a.state = 'linked' and a.origin <> 'further'
                    ) then 'update'
                    else 'creation'
                end::roster.lane,
                true,
                s.since
            from seen s cross join roster.settings
            order by s.user_key
            on conflict (user_key) do update set
                incarnation = excluded.incarnation,
                email = excluded.email,
                removed_txid = excluded.removed_txid,
                removed_by = excluded.removed_by,
                removed_at = excluded.removed_at,
                lane = case when m.due then least(m.lane, excluded.lane) else excluded.lane end,
                generation = m.generation + 1,
                due = true,
                due_since = case when m.due then m.due_since else excluded.due_since end,
                attempts = 0,
                next_attempt_at = null,
                error_code = null, error_class = null, error_detail = null, error_at = null,
                disputed = excluded.disputed,
                conflict = false,
                removal_verdict = excluded.removal_verdict,
                -- Another person starts from nothing: no baseline but their own, no invitation yet.
                baseline = case when excluded.incarnation = m.incarnation then m.baseline else excluded.baseline end,
                look_wanted = case when excluded.incarnation = m.incarnation then m.look_wanted else excluded.look_wanted end,
                invite_epoch = case when excluded.incarnation = m.incarnation then m.invite_epoch else 0 end;
            perform set_config('lock_timeout', patience, true);
            is_done := true;
        exception when lock_not_available then
            more := array(
                select distinct k.user_key
                from roster.changes c cross join unnest(c.user_keys) k (user_key) join roster.mirror m on m.user_key = k.user_key
                where c.id = any (ids)
                union
                select m.user_key from roster.mirror m
                where exists (select from roster.changes c where c.id = any (ids) and c.of_users and c.op = 'truncate')
            );
            free := array(select m.user_key from roster.mirror m where m.user_key = any (more) for update skip locked);
            held := held || array(select k.user_key from unnest(more) k (user_key) where k.user_key <> all (free));
            loop
                more := array(
                    select distinct k.user_key
                    from roster.changes c cross join unnest(c.user_keys) k (user_key)
                    where c.folded_at is null and c.user_keys && held and k.user_key <> all (held)
                );
                exit when more = '{}';
                held := held || more;
            end loop;
        end;
        exit when is_done;
    end loop;
    if not is_done then
        folded := 0;
        return;
    end if;

    -- A removed account that holds the address of somebody named here has to give it up, or is a further log-in of that user by now,
    -- though its own key did not change.
    -- One who is due may be at work with something else just now: the generation tells that this came meanwhile.
    more := array(
        select distinct m.user_key
        from roster.changes c
        cross join unnest(c.user_keys) k (user_key)
        join roster.desired_users d on d.user_key = k.user_key
        join roster.accounts a on lower(a.email) = lower(d.email) and a.state <> 'gone'
        join roster.mirror m on m.user_key = a.user_key
        where c.id = any (ids)
            and (a.incarnation <> m.incarnation or not exists (select from roster.desired_users own where own.user_key = a.user_key))
    );
    begin
        perform set_config('lock_timeout', '1s', true);
        perform from roster.mirror m where m.user_key = any (more) order by m.user_key for update;
        perform set_config('lock_timeout', patience, true);
    exception when lock_not_available then
        -- A person holds one: whoever waits for the address asks for it.
        more := array(select m.user_key from roster.mirror m where m.user_key = any (more) for update skip locked);
    end;
    update roster.mirror m
    set due = true, due_since = case when m.due then m.due_since else now() end, generation = m.generation + 1, lane = 'removal'
    where m.user_key = any (more);

    -- What waits for a person may be otherwise now. The next look tells; during a pause there is none.
    named_keys := array(
        select distinct k.user_key
        from roster.changes c cross join unnest(c.user_keys) k (user_key)
        where c.id = any (ids) and not exists (select from roster.accounts a where a.written_back_txid = c.txid)
    );
    if (select s.paused_at is not null from roster.settings s) then
        perform roster.note_stuck(named_keys);
    else
        delete from roster.stuck s where s.user_key = any (named_keys);
    end if;

    -- Of two with one address, nothing tells the one that the other has another now.
    update roster.mirror m
    set due = true, due_since = now(), generation = m.generation + 1
    from roster.stuck s
    where s.code = 'email_collides' and m.user_key = s.user_key and not m.due
        and not exists (select from roster.desired_users other where lower(other.email) = lower(s.email) and other.user_key <> s.user_key);

    update roster.changes set folded_at = clock_timestamp() where id = any (ids);

    if looked_at_everybody then
        begin
            perform roster.sweep();
        exception when lock_not_available then
            -- The next fold tries again; what else was folded stays so.
            update roster.changes set folded_at = null where id = any (ids) and user_keys is null;
            looked_at_everybody := false;
        end;
    end if;
end
$function$;

revoke execute on function roster.fold(integer) from public;

comment on function roster.fold(integer) is
    'Takes the next new changes over into roster.mirror. Says how many, and whether one of them made it look at everybody.';
