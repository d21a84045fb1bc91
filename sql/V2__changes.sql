-- The outbox: one row per SQL statement that changed mirrored data, written by the statement's own transaction.
--
-- Guarantees: append only for writers, so a capture never waits for a reactor, never deadlocks with it and never fails to serialize.
-- Costs a writer: one narrow insert per statement.
create table roster.changes (
    id bigint generated always as identity constraint changes_id_is_the_key primary key,
    txid xid8 not null default pg_current_xact_id(),
    op text not null,
    relation text,
    of_users boolean not null default false,
    user_keys text[],
    keys_added text[],
    keys_removed text[],
    changed_at timestamptz not null default clock_timestamp(),
    folded_at timestamptz,
    changed_by text not null default session_user,
    backend_pid integer not null default pg_backend_pid(),
    application_name text default current_setting('application_name'),
    client_addr inet default inet_client_addr(),
    actor text default nullif(current_setting('roster.actor', true), ''),
    reason text default nullif(current_setting('roster.reason', true), ''),
    error text
);

-- Serves fold: what is new, in order.
create index changes_to_fold on roster.changes (id) where folded_at is null;
-- Serves the snapshot cursor of further readers, roster.wait() and history per transaction.
create index changes_by_transaction on roster.changes (txid);
-- Serve the history of one user. Written when a change is folded, so that they cost its writer nothing.
create index changes_by_user on roster.changes using gin (user_keys) where folded_at is not null;
create index changes_of_everybody on roster.changes (id) where user_keys is null and folded_at is not null;
-- Serves the view problems: captures that failed.
create index changes_failed on roster.changes (changed_at) where error is not null;

comment on table roster.changes is
    'Outbox and history in one: a row per SQL statement that changed mirrored data, and per use of a control function.';
comment on column roster.changes.txid is 'The writing transaction; a change is new to a reader whose last snapshot could not see it.';
comment on column roster.changes.op is 'insert, update, delete or truncate; or the name of the control function used.';
comment on column roster.changes.relation is 'The table that was written to. Null for a control function.';
comment on column roster.changes.of_users is 'The rows of this table are the users themselves: an insert adds a person, a delete removes one.';
comment on column roster.changes.user_keys is 'The users concerned. Null: the change cannot name them, so look at everybody.';
comment on column roster.changes.keys_added is 'For an update that changed primary keys: keys that no row had before.';
comment on column roster.changes.keys_removed is 'For an update that changed primary keys: keys that no row has any more.';
comment on column roster.changes.folded_at is 'When the reactor took this change over into roster.mirror. Null: not yet.';
comment on column roster.changes.changed_by is 'The database user who logged in (session_user).';
comment on column roster.changes.actor is
    'For whom changed_by did it, by its own word: SET LOCAL roster.actor = ''…''. The console names who is logged in. Null: nobody was named.';
comment on column roster.changes.reason is 'What the writer said: SET LOCAL roster.reason = ''…''.';
comment on column roster.changes.error is 'The capture could not name the users because of this error; the table may have changed. Look at everybody.';
comment on index roster.changes_to_fold is 'Serves fold: what is new, in order.';
comment on index roster.changes_by_transaction is 'Serves snapshot cursors and roster.wait().';
comment on index roster.changes_by_user is 'Serves roster.history_of() and roster.explain(): changes that name a user, once they are folded.';
comment on index roster.changes_of_everybody is 'Serves roster.history_of(): changes that could not name their users, once they are folded.';
comment on index roster.changes_failed is 'Serves problems: captures that failed.';
