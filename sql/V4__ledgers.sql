-- What was tried on Auth0, and who was sent an invitation.
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

comment on table roster.invitations is 'Ledger of invitation mails: at most one per user and epoch. The row is written before the mail is asked for.';
comment on column roster.invitations.state is
    'staged: waits for a person (roster.invite); sending: asked for, answer not recorded; sent; unknown: it may have gone out, and is not sent again.';
comment on column roster.invitations.email is 'Where the mail went, lower case. Null: nowhere yet, or it is not known.';
