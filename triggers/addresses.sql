-- Whose address, whose account: what roster.plan asks only where an address changes, or an account or a user has lost the other.
--
-- Functions and not joins, for speed alone: a join that is hardly ever needed still has to be set up each time a plan is read, which
-- made up most of what the plan of one user cost. Each has its own query plan, made once in a session. They are SECURITY DEFINER,
-- since a view asks a function with the rights of who reads it; they tell nothing that the readers of the plan may not see.

-- Written into the query that asks, being one expression without a SET clause.
create or replace function roster.holds_its_address(account roster.accounts) returns boolean
    language sql immutable parallel safe
return account.origin <> 'further' and (account.state in ('linked', 'missing') or account.call_id is not null);

comment on function roster.holds_its_address(roster.accounts) is
    'Whether Auth0 has the account, or may by now, and it is one whose address is Roster''s to change: nobody else can have that address.';

-- Addresses that wait for each other: follows from one account to the holders of the address it wants, and on. Only who is on the way
-- back to the first is of the circle: beside it there may be accounts that wait for nothing, or for somebody of another circle.
create or replace function roster.address_cycle(account text) returns text[]
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
begin atomic
    with recursive waits as (
        select a.auth0_user_id as id, array[a.auth0_user_id] as path, false as closed
        from roster.accounts a where a.auth0_user_id = account
        union all
        select h.auth0_user_id, w.path || h.auth0_user_id, h.auth0_user_id = account
        from waits w
        join roster.accounts own on own.auth0_user_id = w.id
        join roster.mirror m on m.user_key = own.user_key and m.incarnation = own.incarnation
        join roster.desired_users d on d.user_key = own.user_key and lower(d.email) is distinct from lower(own.email)
        join roster.accounts h on lower(h.email) = lower(d.email) and roster.holds_its_address(h)
        where not w.closed and cardinality(w.path) < 50 and h.auth0_user_id <> all (w.path[2:])
    )
    select (select array_agg(distinct id order by id) from unnest(w.path) p (id)) from waits w where w.closed order by cardinality(w.path) limit 1;
end;

comment on function roster.address_cycle(text) is
    'The accounts that wait for each other''s address in a circle with this one, the first of them first. Null: no circle.';

create or replace function roster.address_holder(address text, account text, out user_key text, out wants_it_too boolean)
    returns setof record
    language plpgsql stable security definer rows 1
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    return query
        select h.user_key, d.user_key is not null and m.incarnation = h.incarnation and lower(d.email) = lower(address)
        from roster.accounts h
        join roster.mirror m on m.user_key = h.user_key
        left join roster.desired_users d on d.user_key = h.user_key
        where lower(h.email) = lower(address) and roster.holds_its_address(h)
            and h.auth0_user_id is distinct from account
        limit 1;
end
$function$;

comment on function roster.address_holder(text, text) is
    'Who of ours holds this address, or is just getting it, with another account than this one, and whether that user''s row has it still. No row: nobody.';

create or replace function roster.account_claimant(account text, address text, out user_key text, out has_an_account boolean)
    returns setof record
    language plpgsql stable security definer rows 1
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    return query
        select c.user_key, c.has_an_account
        from (
            select other.user_key, other.blocked, exists (
                select from roster.accounts own join roster.mirror om on om.user_key = own.user_key and om.incarnation = own.incarnation
                where own.user_key = other.user_key and own.origin <> 'further' and own.state <> 'gone'
            ) as has_an_account
            from roster.desired_users other
            where lower(other.email) = lower(address) or other.auth0_user_id = account
        ) c
        -- Who is blocked gets no account, but the one there is gets its address, for which others may wait.
        where c.blocked is not true or c.has_an_account
        -- Who has none takes this one, so that the other need not wait for the address.
        order by c.has_an_account
        limit 1;
end
$function$;

comment on function roster.account_claimant(text, text) is
    'The live user whose row carries the id or the address of an account that lost its own user. No row: nobody.';

-- Blocked or not: to block what a blocked user is about to take over does no harm, to delete it would. Nor is deleted what a row names,
-- whichever account its user has: a person may be about to say whose it is.
create or replace function roster.account_heir(account text, address text) returns text
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return (
        select d.user_key
        from roster.desired_users d
        where d.auth0_user_id = account or lower(d.email) = lower(address) and not exists (
            select from roster.accounts own join roster.mirror m on m.user_key = own.user_key and m.incarnation = own.incarnation
            where own.user_key = d.user_key and own.origin <> 'further' and own.state <> 'gone')
        limit 1
    );
end
$function$;

comment on function roster.account_heir(text, text) is
    'The live user whose row names an account that lost its own user, or has its address and no account. Null: nobody.';

create or replace function roster.account_left_over(account text, address text, out user_key text, out auth0_user_id text)
    returns setof record
    language plpgsql stable security definer rows 1
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    return query
        select a.user_key, a.auth0_user_id
        from (
            select 1 as rank, * from roster.accounts where auth0_user_id = account
            union all
            select 2, * from roster.accounts where lower(email) = lower(address) and state <> 'gone'
        ) a
        join roster.mirror am on am.user_key = a.user_key
        where a.origin <> 'further' and (a.state in ('linked', 'missing') or a.call_id is not null)
            and (a.incarnation <> am.incarnation or not exists (select from roster.desired_users other where other.user_key = a.user_key))
            -- A row that carries the id comes before one that has the address, unless it has an account already.
            and (a.rank = 1 or not exists (
                select from roster.desired_users named
                where named.auth0_user_id = a.auth0_user_id and not exists (
                    select from roster.accounts own join roster.mirror om on om.user_key = own.user_key and om.incarnation = own.incarnation
                    where own.user_key = named.user_key and own.origin <> 'further' and own.state <> 'gone')))
        order by a.rank, a.auth0_user_id
        limit 1;
end
$function$;

comment on function roster.account_left_over(text, text) is
    'An account that belongs to nobody any more (its key has no row, or means another person now), with this id or else this address. A call for it may be in flight.';

create or replace function roster.namesake(address text, but text) returns text
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return (select d.user_key from roster.desired_users d where lower(d.email) = lower(address) and d.user_key <> but limit 1);
end
$function$;

comment on function roster.namesake(text, text) is 'Another user with the same address. Null: nobody.';
