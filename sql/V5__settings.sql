-- What the planner needs to know, who is running, and which tables are watched.
create table roster.settings (
    one_row boolean constraint settings_has_one_row primary key default true constraint settings_row_is_the_one check (one_row),
    mode text not null default 'observe' constraint settings_mode_is_known check (mode in ('observe', 'additive', 'enforce')),
    mode_chosen_by text,
    mode_chosen_at timestamptz,
    paused_at timestamptz,
    pause_reason text,
    audit_asked_at timestamptz,
    guard_window interval not null default '1 hour',
    guard_removals_min integer not null default 20 constraint settings_guard_minimum_is_a_number check (guard_removals_min >= 0),
    guard_removals_share double precision not null default 0.05
        constraint settings_guard_share_is_a_share check (guard_removals_share between 0 and 1),
    guard_protected text[] not null default '{}',
    guard_min_admins integer not null default 0,
    guard_admin_role text,
    delete_after interval,
    token_lifetime interval not null default '1 day',
    invitation_send text not null default 'auth0_email'
        constraint settings_invitation_is_known check (invitation_send in ('auth0_email', 'none')),
    connection text,
    tenant text,
    database_identity text,
    written_by uuid,
    written_at timestamptz
);
insert into roster.settings default values;

comment on table roster.settings is 'What the planner needs to know; one row. Mode and pause are set by roster.set_mode() and roster.pause(), the rest by roster run.';
comment on column roster.settings.mode is 'observe: read and show, write nothing to Auth0; additive: no block, no delete; enforce: everything.';
comment on column roster.settings.mode_chosen_by is 'Who chose the mode, or why Roster itself went back to observe. Null: nobody yet, so it is observe.';
comment on column roster.settings.paused_at is 'Since when nothing is done. Null: not paused.';
comment on column roster.settings.audit_asked_at is 'When roster.audit() last asked for an audit. Null: never.';
comment on column roster.settings.guard_protected is 'Addresses or user keys whose removal always waits for a person.';
comment on column roster.settings.guard_admin_role is 'The role of which guard_min_admins must remain. Null: no such guard.';
comment on column roster.settings.delete_after is 'How long after its removal a blocked account is deleted. Null: never, block only.';
comment on column roster.settings.token_lifetime is 'How long Auth0''s access tokens of your APIs are good; it only tells when the last one of a removed user has expired.';
comment on column roster.settings.tenant is 'The Auth0 tenant (base URL) this mirror belongs to.';
comment on column roster.settings.database_identity is 'The database this mode was chosen for; a restored copy starts in observe.';

create table roster.reactors (
    id uuid constraint reactors_id_is_the_key primary key,
    host text not null,
    pid integer not null,
    version text not null,
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now(),
    beating_since timestamptz not null default now(),
    last_listen_at timestamptz,
    last_sweep_at timestamptz,
    bell_heard_at timestamptz,
    bell_deaf boolean not null default false,
    settings jsonb not null default '{}',
    budget jsonb not null default '[]',
    stopped_at timestamptz
);

comment on table roster.reactors is 'Each reactor''s heartbeat, last LISTEN, last sweep and what is left of Auth0''s rate limit.';
comment on column roster.reactors.beating_since is 'Since when its heartbeats came without a gap: so long it was there to notice that another one fell silent.';
comment on column roster.reactors.bell_heard_at is 'When its own test notification last came back.';
comment on column roster.reactors.bell_deaf is 'Its test notification did not come back: a pooler may stand between. It polls all the same.';
comment on column roster.reactors.settings is 'What it would write to roster.settings; two different sets are shown in roster.problems.';
comment on column roster.reactors.stopped_at is 'When it stopped in order. Null: it runs, or died.';

create table roster.watched (
    relation text constraint watched_relation_is_the_key primary key,
    key_column text,
    columns text[] not null,
    for_each text not null constraint watched_for_each_is_known check (for_each in ('statement', 'row')),
    of_users boolean not null,
    attached boolean not null default true
);

comment on table roster.watched is 'The tables whose changes are captured, kept by roster.watch().';
comment on column roster.watched.key_column is 'The column that names the user. Null: a change to this table concerns everybody.';
comment on column roster.watched.of_users is 'Its rows are the users themselves: the key column is its primary key.';
