-- The mapping: which rows are users, and which columns say what. Yours to replace; created only where it does not exist.
create view roster.desired_users as
select
    u.id::text as user_key,
    u.email::text as email,
    u.name::text as name,
    u.role::text as role,
    case
        when own.permissions is null then coalesce(of_role.permissions, '{}')
        else (
            select array_agg(p order by p collate "C")
            from (select distinct p from unnest(own.permissions || of_role.permissions) as p) each_once
        )
    end as permissions,
    {blocked} as blocked,
    u.auth0_user_id::text as auth0_user_id,
    '{}'::jsonb as app_metadata,
    '{}'::jsonb as user_metadata
from public.users u
left join lateral (
    select array_agg(permission order by permission collate "C") as permissions
    from public.role_permissions
    where role = u.role::text
) of_role on true
left join lateral (
    select array_agg(permission) as permissions
    from public.user_permissions
    where user_id = u.id
) own on true;

comment on view roster.desired_users is
    'Who is to be in Auth0, and how: the WHERE is the scope, the SELECT list the mapping. Yours to replace; keep the columns.';
