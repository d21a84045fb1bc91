-- The application's tables, where they do not exist yet: users, roles and what they may do.
--
-- Guarantees: an existing table is left exactly as it is. Indexes, foreign keys and the updated_at trigger come only with a users
-- table that is made here. Where somebody has said already who the users are (roster.desired_users), nothing is made.
do $$
declare
    users_is_ours boolean := to_regclass('public.users') is null;
begin
    if to_regclass('roster.desired_users') is not null then
        return;
    end if;

    create table if not exists public.roles (
        name text constraint roles_name_is_the_key primary key,
        description text
    );

    create table if not exists public.role_permissions (
        role text not null,
        permission text not null,
        constraint role_permissions_has_each_once primary key (role, permission)
    );

    if users_is_ours then
        create table public.users (
            id serial primary key,
            auth0_user_id varchar(255) unique,
            email varchar(255) unique not null,
            name varchar(255),
            role varchar(50) not null default 'Artist',
            created_at timestamp default current_timestamp,
            updated_at timestamp default current_timestamp,
            blocked boolean not null default false
        );
        -- Serves every look-up by key (the planner, the authorization server): the key is handled as text.
        create index users_id_as_text on public.users ((id::text));
        -- One address, one person, whatever its case; serves the look-ups by address.
        create unique index users_email_without_case on public.users (lower(email::text));
        -- Serves the console: who comes next, and whose address begins so.
        create index users_email_in_order on public.users (lower(email::text) collate "C", (id::text) collate "C");

        -- Serves the console: who is blocked, and whose removal may be held.
        create index users_blocked on public.users ((id::text)) where blocked;

        create table if not exists public.user_permissions (
            user_id integer not null references public.users (id) on update cascade on delete cascade,
            permission text not null,
            constraint user_permissions_has_each_once primary key (user_id, permission)
        );

        comment on table public.users is
            'Who may log in. Change it with any SQL tool; Roster mirrors each change to Auth0.';
        comment on column public.users.auth0_user_id is
            'The Auth0 account of this person; filled in by Roster. An id written by hand is looked at, never simply believed.';
        comment on column public.users.blocked is
            'True: this person may not log in and every authorization look-up is refused.';
        comment on index public.users_id_as_text is 'Serves look-ups by user key, which is text everywhere in schema roster.';
        comment on index public.users_email_without_case is 'An address belongs to one person, whatever its case.';
        comment on index public.users_blocked is 'Serves the console: who is blocked, and whose removal may be held.';
        comment on index public.users_email_in_order is 'Serves the console: users by address, a page at a time, and those whose address begins so.';
    elsif to_regclass('public.user_permissions') is null
        and exists (
            select from pg_catalog.pg_attribute
            where attrelid = 'public.users'::regclass and attname = 'id' and not attisdropped
        )
    then
        -- The key's own type, and no foreign key: an adopted table gets no constraint it did not ask for.
        execute (
            select pg_catalog.format(
                'create table public.user_permissions (user_id %s not null, permission text not null, '
                'constraint user_permissions_has_each_once primary key (user_id, permission))',
                pg_catalog.format_type(atttypid, atttypmod)
            )
            from pg_catalog.pg_attribute
            where attrelid = 'public.users'::regclass and attname = 'id'
        );
    end if;

    comment on table public.roles is 'The roles users may have, for people to read; users.role holds the name.';
    comment on table public.role_permissions is 'What each role may do. A user''s permissions are those of the role plus the user''s own.';
    if to_regclass('public.user_permissions') is not null then
        comment on table public.user_permissions is 'What a user may do beyond the role.';
    end if;
end
$$;
