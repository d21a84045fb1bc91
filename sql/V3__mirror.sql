-- What the reactor knows: a row per user key and a row per Auth0 account.
--
-- Guarantees: written by fold, claim, record and the control functions only, never by the application's transactions.
-- Pages keep room for the updates that each change brings, so that they seldom touch an index.
create type roster.lane as enum ('removal', 'creation', 'update', 'bulk');
comment on type roster.lane is 'What goes first: removals, then invitations and creations, then updates, then mass changes.';

create table roster.mirror (
    user_key text constraint mirror_key_is_the_key primary key,
    incarnation integer not null default 1,
    email text,
    removed_txid xid8,
    removed_by text constraint mirror_removed_by_a_known_way check (removed_by in ('delete', 'truncate', 'key change', 'scope', 'unseen')),
    removed_at timestamptz,
    baseline boolean not null default false,
    look_wanted boolean not null default false,
    conflict boolean not null default false,
    lane roster.lane not null default 'update',
    generation bigint not null default 1,
    due boolean not null default true,
    due_since timestamptz default now(),
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    lease_by uuid,
    lease_until timestamptz,
    claim_id uuid,
    error_code text,
    error_class text constraint mirror_error_class_is_known check (error_class in ('throttled', 'transient', 'data', 'config', 'conflict')),
    error_detail text,
    error_at timestamptz,
    disputed text,
    removal_verdict text constraint mirror_removal_verdict_is_known check (removal_verdict in ('released', 'kept')),
    invite_epoch integer not null default 0,
    synced_at timestamptz,
    constraint mirror_removal_is_whole check ((removed_by is null) = (removed_at is null)),
    constraint mirror_lease_is_whole check ((lease_by is null) = (lease_until is null)),
    constraint mirror_due_says_since_when check (not due or due_since is not null)
) with (fillfactor = 70);

-- Serves claim: what is due, lane by lane, oldest first.
create index mirror_due on roster.mirror (lane, due_since) where due;
-- Serves user_sync, key by key, and the view removals.
create index mirror_removed on roster.mirror (user_key) where removed_at is not null;
-- Serve roster.problems and roster.status: of many users a few are in trouble.
create index mirror_disputed on roster.mirror (disputed) where disputed is not null;
create index mirror_in_error on roster.mirror (error_class, error_code) where error_code is not null;
-- Serves the removal guard and the view removals: keys that meant another person before.
create index mirror_reused on roster.mirror (user_key) where incarnation > 1;

create table roster.account_changes (
    txid xid8 not null default pg_current_xact_id(),
    user_keys text[],
    changed_at timestamptz not null default now()
);
-- Serves the snapshot cursor of the authorization servers.
create index account_changes_by_transaction on roster.account_changes (txid);
-- Serves the end of history.
create index account_changes_by_time on roster.account_changes (changed_at);

comment on table roster.account_changes is
    'A row per account that found another user before, or none; and per key that means another person. Kept as long as roster.changes.';
comment on column roster.account_changes.txid is 'The writing transaction; a change is new to a reader whose last snapshot could not see it.';
comment on column roster.account_changes.user_keys is 'The users concerned. Null: anybody.';
comment on index roster.account_changes_by_transaction is 'Serves the snapshot cursor of the authorization servers.';
comment on index roster.account_changes_by_time is 'Serves the end of history.';

comment on table roster.mirror is 'One row per user key, outliving the user''s row: is a look at this user due, since when, and what went wrong last.';
comment on column roster.mirror.incarnation is 'Which person the key means: raised when the key came back with another person.';
comment on column roster.mirror.email is 'The row''s address, lower case, when a change naming this key was last folded.';
comment on column roster.mirror.removed_txid is 'The transaction that removed the row. Null: it was not removed, or nobody saw it happen.';
comment on column roster.mirror.removed_by is 'How the row went: delete, truncate, key change; scope: the view no longer shows it; unseen: the sweep found it gone.';
comment on column roster.mirror.baseline is 'Was there before Roster (or before Roster was allowed to write), or came in a bulk load: its invitation is staged until a person releases it.';
comment on column roster.mirror.look_wanted is 'Auth0 is looked at before anything is created for this key.';
comment on column roster.mirror.conflict is 'Auth0 said that the account exists already; what is there is being settled.';
comment on column roster.mirror.generation is 'Raised by every change; a result is final only for the generation it was claimed at.';
comment on column roster.mirror.due is 'The reactor has to look at this user.';
comment on column roster.mirror.lease_by is 'The reactor that is at it. Null: nobody.';
comment on column roster.mirror.claim_id is
    'The claim that lease_by last took this user with; only its results are recorded while the lease lasts. Null: never claimed.';
comment on column roster.mirror.error_code is 'Stable code of the last failure. Null: none since the last success.';
comment on column roster.mirror.disputed is 'Why a person has to decide (roster.link). Null: nothing is disputed.';
comment on column roster.mirror.removal_verdict is 'What a person said of a held removal: released, or kept until the row changes again.';
comment on column roster.mirror.invite_epoch is 'How many invitations are wanted in the life of this account; at most one mail goes out for each.';
comment on column roster.mirror.synced_at is 'When Auth0 was last known to agree with the row.';
comment on index roster.mirror_due is 'Serves claim: lane by lane, oldest first.';
comment on index roster.mirror_removed is 'Serves user_sync and removals: whose row is gone.';
comment on index roster.mirror_disputed is 'Serves problems and status: who waits for a person.';
comment on index roster.mirror_in_error is 'Serves problems and status: whose last try failed.';
comment on index roster.mirror_reused is 'Serves the removal guard and removals: keys that meant another person before.';

create table roster.accounts (
    auth0_user_id text constraint accounts_id_is_the_key primary key,
    user_key text not null,
    incarnation integer not null,
    origin text not null constraint accounts_origin_is_known check (origin in ('made', 'adopted', 'further')),
    state text not null constraint accounts_state_is_known check (state in ('chosen', 'linked', 'missing', 'gone')),
    email text,
    email_verified boolean,
    name text,
    blocked boolean not null default false,
    app_metadata jsonb not null default '{}',
    user_metadata jsonb not null default '{}',
    observed_at timestamptz,
    blocked_by_us boolean not null default false,
    has_logged_in boolean not null default false,
    removed_at timestamptz,
    removal_released boolean not null default false,
    written_back_txid xid8,
    call_id uuid,
    call_action text,
    call_deadline timestamptz,
    doubted_at timestamptz,
    doubted_action text,
    created_at timestamptz not null default now(),
    constraint accounts_call_is_whole check ((call_id is null) = (call_action is null) and (call_id is null) = (call_deadline is null)),
    constraint accounts_metadata_are_objects check (jsonb_typeof(app_metadata) = 'object' and jsonb_typeof(user_metadata) = 'object')
) with (fillfactor = 70);

-- At most one account of a person has its address changed and is ever deleted.
create unique index accounts_one_primary on roster.accounts (user_key, incarnation) where origin <> 'further' and state <> 'gone';
-- Serves the planner: all accounts of a key.
create index accounts_by_user on roster.accounts (user_key);
-- Serves "who of ours holds this address".
create index accounts_by_email on roster.accounts (lower(email)) where state <> 'gone';
-- Serves the removal guard: removals done in its window.
create index accounts_by_removal on roster.accounts (removed_at) where removed_at is not null;
-- Serves roster.problems: bans that somebody else made.
create index accounts_banned on roster.accounts (user_key) where state = 'linked' and blocked and not blocked_by_us;

-- Serves the sweep: who is to be looked at once more.
create index accounts_in_doubt on roster.accounts (doubted_at) where doubted_at is not null;
-- Serves fold: which change is Roster's own writing back of the id.
create index accounts_by_write_back on roster.accounts (written_back_txid) where written_back_txid is not null;

comment on table roster.accounts is 'One row per Auth0 account that Roster linked to a user: what of it was last observed, and the call in flight.';
comment on column roster.accounts.incarnation is 'Which person of the key it belongs to; accounts of a past one are only ever blocked or deleted.';
comment on column roster.accounts.origin is 'made: created by Roster; adopted: found in the connection; further: another log-in of the same person, such as Google.';
comment on column roster.accounts.state is 'chosen: the id stands, the account is not known to exist; linked; missing: Auth0 did not find it, to be looked for; gone.';
comment on column roster.accounts.email is 'As Auth0 last showed it.';
comment on column roster.accounts.app_metadata is 'The keys Roster owns, as Auth0 last showed them.';
comment on column roster.accounts.observed_at is 'When Auth0 last showed this account. Null: never.';
comment on column roster.accounts.blocked_by_us is 'Roster set the block; only such a block is ever lifted by Roster.';
comment on column roster.accounts.has_logged_in is 'Auth0 last showed that somebody had logged in; until then a corrected address means another invitation.';
comment on column roster.accounts.removed_at is 'When Roster last blocked or deleted it as a removal; the guard counts these. Null: not removed.';
comment on column roster.accounts.removal_released is 'That removal had been released by a person, so the guard does not count it.';
comment on column roster.accounts.written_back_txid is
    'The transaction in which Roster last wrote this id into the application''s table; fold takes that change for no news of the user. Null: never.';
comment on column roster.accounts.call_id is 'A call to Auth0 whose end is not recorded; after call_deadline the account is looked at. Null: none.';
comment on column roster.accounts.doubted_at is
    'When a call ended without an answer: Auth0 may still apply it, so the sweep looks once more a little later. Null: nothing is in doubt.';
comment on column roster.accounts.doubted_action is 'What that call was to do: a block that shows up late is Roster''s own all the same.';
comment on index roster.accounts_one_primary is 'At most one account of a person is the primary one.';
comment on index roster.accounts_by_user is 'Serves the planner: all accounts of a key.';
comment on index roster.accounts_by_email is 'Serves the question who of ours holds an address.';
comment on index roster.accounts_by_removal is 'Serves the removal guard.';
comment on index roster.accounts_banned is 'Serves problems: bans that somebody else made.';
comment on index roster.accounts_in_doubt is 'Serves the sweep: who is to be looked at once more.';
comment on index roster.accounts_by_write_back is 'Serves fold: which change is Roster''s own.';

create table roster.stuck (
    user_key text not null,
    auth0_user_id text,
    email text,
    action text not null,
    state text not null constraint stuck_state_waits_for_a_person check (state in ('held', 'disputed', 'parked')),
    code text,
    reason text,
    since timestamptz,
    removed_by text,
    noted_at timestamptz not null default now()
);
-- Serves whoever writes it, user by user, and user_sync.
create index stuck_by_user on roster.stuck (user_key);

comment on table roster.stuck is
    'The rows of roster.plan that wait for a person, as a reactor last found them: planning everybody, or thousands of removals, takes seconds.';
comment on column roster.stuck.email is 'As the plan showed it: the row''s, or the account''s where the row is gone.';
comment on column roster.stuck.state is 'held: roster.release_held() or discard_held(); disputed: roster.link(); parked: correct the row.';
comment on column roster.stuck.code is 'Stable code of what is wrong, as in roster.plan. Null: held.';
comment on column roster.stuck.since is 'Of a held removal: when the row went, or was changed.';
comment on column roster.stuck.removed_by is 'As in roster.mirror.';
comment on column roster.stuck.noted_at is 'When a reactor found it so.';
comment on index roster.stuck_by_user is 'Serves user_sync, and the reactor, which writes it user by user.';
