-- What was tried on Auth0, who was sent an invitation, and what audits found.
create table roster.attempts (
    id bigint generated always as identity constraint attempts_id_is_the_key primary key,
    user_key text not null,
    auth0_user_id text,
    action text not null,
    changes jsonb not null default '{}',
    status integer,
    code text not null,
    started_at timestamptz not null,
    duration_ms integer not null,
    due_since timestamptz,
    reactor uuid
);

-- Serves explain and history: the last attempts for a user.
create index attempts_by_user on roster.attempts (user_key, id);
-- Serves the deletion of old history.
create index attempts_by_time on roster.attempts (started_at);

comment on table roster.attempts is 'One row per action tried on Auth0: what was to change, what came of it, how long it took.';
comment on column roster.attempts.changes is 'Owned fields, each with "from" and "to".';
comment on column roster.attempts.status is 'HTTP status. Null: no answer came, or none was needed.';
comment on column roster.attempts.due_since is
    'Since when the user was due: when the change was made that this answers. Null: nothing was due any more.';
comment on column roster.attempts.code is 'ok, or the stable error code.';
comment on index roster.attempts_by_user is 'Serves the last attempts for a user.';
comment on index roster.attempts_by_time is 'Serves the deletion of old history.';

create table roster.invitations (
    user_key text not null,
    incarnation integer not null,
    epoch integer not null,
    auth0_user_id text not null,
    state text not null constraint invitations_state_is_known check (state in ('staged', 'sending', 'sent', 'unknown')),
    changed_at timestamptz not null default now(),
    email text,
    constraint invitations_one_per_epoch primary key (user_key, incarnation, epoch)
);

-- Serves the views status and problems: what waits for a person.
create index invitations_unsettled on roster.invitations (state) where state <> 'sent';

comment on table roster.invitations is 'Ledger of invitation mails: at most one per user and epoch. The row is written before the mail is asked for.';
comment on column roster.invitations.state is
    'staged: waits for a person (roster.invite); sending: asked for, answer not recorded; sent; unknown: it may have gone out, and is not sent again.';
comment on index roster.invitations_unsettled is 'Serves status and problems: what waits for a person.';
comment on column roster.invitations.email is 'Where the mail went, lower case. Null: nowhere yet, or it is not known.';

create table roster.audits (
    id bigint generated always as identity constraint audits_id_is_the_key primary key,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    state text not null default 'running' constraint audits_state_is_known check (state in ('running', 'finished', 'failed')),
    started_by text not null default session_user,
    source text constraint audits_source_is_known check (source in ('export', 'accounts')),
    accounts_seen bigint,
    accounts_linked bigint,
    candidates bigint,
    unconfirmed bigint,
    on_their_way bigint,
    found bigint,
    step text constraint audits_step_is_known check (step in ('export', 'load', 'compare', 'look')),
    step_done bigint,
    step_of bigint,
    error_code text,
    error_detail text,
    constraint audits_end_is_whole check ((state = 'running') = (finished_at is null)),
    constraint audits_failure_has_a_code check ((state = 'failed') = (error_code is not null))
);

comment on table roster.audits is 'One row per audit: what Auth0 really has, compared with what it is to have. The last 50 are kept.';
comment on column roster.audits.finished_at is 'When it ended, well or not. Null: it runs, or its process died.';
comment on column roster.audits.source is
    'export: all accounts of the tenant; accounts: only those that Roster linked, one by one, since there was no export, so nothing extra is seen. Null: not known yet.';
comment on column roster.audits.candidates is 'Users and accounts that seemed to differ and were to be confirmed by a look of their own.';
comment on column roster.audits.unconfirmed is 'Candidates that were not looked at, since there were too many: not called drift, and not known to be none.';
comment on column roster.audits.on_their_way is 'Candidates that Roster itself is about to change, or has changed since: judged by the next audit.';
comment on column roster.audits.step is
    'What it does, or did last: export: Auth0 writes the file; load: the file is read; compare: with everybody; look: at each candidate. Null: it begins.';
comment on column roster.audits.step_done is 'How far that is, of step_of: per cent of the export, or candidates looked at. Null: not known.';
comment on column roster.audits.error_code is 'Why it failed, and found nothing. Null: it did not.';

create table roster.drift_found (
    id bigint generated always as identity constraint drift_found_id_is_the_key primary key,
    audit bigint not null constraint drift_found_belongs_to_an_audit references roster.audits on delete cascade,
    kind text not null constraint drift_found_kind_is_known check (kind in (
        'missing', 'extra', 'changed', 'blocked mismatch', 'ban made elsewhere', 'duplicate', 'disputed', 'linked away'
    )),
    user_key text,
    auth0_user_id text,
    email text,
    changes jsonb not null default '{}',
    detail text,
    planned text,
    found_at timestamptz not null default now(),
    verdict text constraint drift_found_verdict_is_known check (verdict in ('reverted', 'ignored')),
    judged_at timestamptz,
    judged_by text,
    constraint drift_found_is_about_somebody check (user_key is not null or auth0_user_id is not null),
    constraint drift_found_verdict_is_whole check ((verdict is null) = (judged_at is null))
);

-- Serves the view drift, and what an audit takes over from the one before.
create index drift_found_by_audit on roster.drift_found (audit, id);

comment on table roster.drift_found is 'What each audit found, and what a person said of it; roster.drift shows what of the last one is open.';
comment on column roster.drift_found.user_key is 'The user concerned. Null: no user has this account.';
comment on column roster.drift_found.auth0_user_id is 'The account concerned. Null: there is none.';
comment on column roster.drift_found.email is 'The address in Postgres; of an account that no user has, the one in Auth0.';
comment on column roster.drift_found.changes is 'Fields that differ: "from" is what Auth0 has, "to" what Postgres says.';
comment on column roster.drift_found.planned is
    'What roster.plan said of it when the audit ended, such as block (held). Null: nothing, since Roster took it for in sync.';
comment on column roster.drift_found.verdict is
    'reverted: it was given to the plan to be mended; ignored: not shown again while it stays as it is. Null: nobody judged it.';
comment on index roster.drift_found_by_audit is 'Serves roster.drift.';
