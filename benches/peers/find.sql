-- What the peers ask for each request: one row for the subject of a token, role and permissions with it. Prepared once a session.
select u.id::text as key, u.email, u.name, u.role,
    array(
        select permission from public.role_permissions where role = u.role
        union
        select permission from public.user_permissions where user_id = u.id
        order by permission
    ) as permissions,
    u.auth0_user_id, u.blocked
from public.users u
where u.auth0_user_id = $1
