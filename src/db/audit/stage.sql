-- Where an audit keeps what it read, in its own session: it is gone when that ends, however it ends, and writes no WAL.
create temporary table audit_seen (
    auth0_user_id text not null,
    -- False: asked for by its id, Auth0 showed nobody.
    found boolean not null,
    -- The account that it was linked into.
    moved_into text,
    in_connection boolean not null,
    email text,
    email_verified boolean not null,
    name text,
    blocked boolean not null,
    app_metadata jsonb not null,
    user_metadata jsonb not null
);
-- The same, of a few that were looked at again.
create temporary table audit_confirmed (like audit_seen including all);
create temporary table audit_candidates (
    place bigint generated always as identity primary key,
    user_key text,
    auth0_user_id text,
    email text
)
