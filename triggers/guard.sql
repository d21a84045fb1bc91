-- The removal guard, in numbers: is what is to be blocked or deleted now more than a routine day's worth?
--
-- Read at most once by a plan, and only when a removal is in it: it compares all accounts with all users, whether or not anything told
-- of a change. What that comparison leaves is then looked at closely.
create or replace view roster.guard as
with removal as materialized (
    -- What is to be removed now: no row, another person's row, or a blocked one; not what a person released or kept.
    select a.auth0_user_id
    from roster.accounts a
    join roster.mirror m on m.user_key = a.user_key
    cross join roster.settings s
    left join roster.desired_users d on d.user_key = a.user_key
    where a.state in ('linked', 'missing')
        and m.removal_verdict is null
        -- As an array, so that they are found by index: a join would be planned as if it were a large part of everybody.
        and a.auth0_user_id = any (array(
            select x.auth0_user_id
            from roster.accounts x
            cross join roster.settings xs
            left join roster.desired_users r on r.user_key = x.user_key
            where x.state in ('linked', 'missing') and case
                when x.call_id is not null then true
                when r.user_key is not null and r.blocked is not true then false
                -- Blocked already, as who left in years past: until it is to be deleted, if ever.
                else not x.blocked or coalesce(x.removed_at + xs.delete_after, case when xs.delete_after is not null then now() end) <= now()
            end
            union
            select x.auth0_user_id
            from roster.mirror reused join roster.accounts x on x.user_key = reused.user_key
            where reused.incarnation > 1
        ))
        and case
            -- Being done: it counts, also if the row came back meanwhile.
            when a.call_id is not null and a.call_action in ('block', 'delete') then true
            when d.user_key is not null and a.incarnation = m.incarnation then d.blocked is true and not a.blocked
            -- Blocked long enough, so to be deleted.
            when a.blocked then a.blocked_by_us and a.origin = 'made' and greatest(a.removed_at, m.removed_at) + s.delete_after <= now()
            -- The live row of somebody without an account takes it over: not a removal.
            else not exists (
                select from roster.desired_users other
                where lower(other.email) = lower(a.email) and other.blocked is not true
                    and not exists (
                        select from roster.accounts own
                        join roster.mirror om on om.user_key = own.user_key and om.incarnation = own.incarnation
                        where own.user_key = other.user_key and own.origin <> 'further' and own.state <> 'gone'
                    )
            )
        end
),
number as materialized (
    select
        (select count(*) from removal) as due,
        (select count(*) from roster.accounts a cross join roster.settings s
            where a.removed_at > now() - s.guard_window and not a.removal_released) as done,
        (select count(*) from roster.accounts a where a.state in ('linked', 'missing') and not a.blocked_by_us) as unblocked
)
select
    n.due,
    n.done,
    n.active,
    n.allowed,
    case
        when n.nobody_left then 'the users table is empty'
        when n.due + n.done > n.allowed then
            format('%s removals due and %s done in the last %s, allowed are %s of %s active', n.due, n.done, n.guard_window, n.allowed, n.active)
    end as held_because
from (
    select c.*, c.unblocked + c.done as active, s.guard_window,
        greatest(s.guard_removals_min, floor(s.guard_removals_share * (c.unblocked + c.done))::bigint) as allowed,
        not exists (select from roster.desired_users) as nobody_left
    from number c cross join roster.settings s
    offset 0 -- computed once, not once per mention
) n;

comment on view roster.guard is 'The removal guard in numbers: removals due, done in the window, active accounts, how many are allowed, and why all are held. Null: they are not.';
comment on column roster.guard.held_because is 'Why every removal waits for roster.release_held(). Null: none waits for its number.';

-- Asked by roster.plan, as functions since it hardly ever asks: a query plan within it costs each time, needed or not.
create or replace function roster.removals_held_because() returns text
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return (select g.held_because from roster.guard g);
end
$function$;

comment on function roster.removals_held_because() is 'Why all removals are held, from roster.guard. Null: they are not held for their number.';

create or replace function roster.admins_left() returns bigint
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return (
        select count(*) from roster.desired_users d cross join roster.settings s
        where d.role = s.guard_admin_role and d.blocked is not true
    );
end
$function$;

comment on function roster.admins_left() is 'How many users with the role guard.admin_role are there and not blocked.';
