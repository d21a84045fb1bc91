-- Imports: files of users, line by line, on their way into the users table.
create table roster.imports (
    id uuid constraint imports_id_is_the_key primary key default gen_random_uuid(),
    source text,
    into_table text not null,
    columns jsonb not null,
    begun_by text not null default session_user,
    begun_at timestamptz not null default now(),
    applied_at timestamptz,
    applied_txid xid8,
    new integer,
    changed integer,
    same integer,
    bad integer,
    step text constraint imports_step_is_known check (step in ('checking', 'checked', 'applying', 'applied', 'failed')),
    step_done integer,
    step_of integer,
    step_at timestamptz,
    error text
);

comment on table roster.imports is 'Each file of users that was read, and what became of it.';
comment on column roster.imports.source is 'Name of the file. Null: psql, which does not tell.';
comment on column roster.imports.columns is 'The table''s columns that the file fills, by the file''s own names.';
comment on column roster.imports.applied_txid is 'The transaction that wrote it; roster.history_of_transaction() tells what came of it. Null: it was not applied.';
comment on column roster.imports.new is 'Lines that made a row, or would when they were last tried. changed, same and bad are the others.';
comment on column roster.imports.step is
    'Where the console is with it: checking: lines are tried and taken back; applying: they are written; failed: nothing was. Null: psql or roster import, or not tried yet.';
comment on column roster.imports.step_done is 'How many batches of 1000 lines are through, of step_of.';
comment on column roster.imports.step_at is 'When that was last told. Who checks or applies tells it twice a second.';
comment on column roster.imports.error is 'Why it failed. Null: it did not.';

-- Not worth the log: a crash loses lines that are still in the file.
create unlogged table roster.import_lines (
    import_id uuid not null references roster.imports (id) on delete cascade,
    line integer not null,
    cells jsonb not null,
    verdict text constraint import_lines_verdict_is_known check (verdict in ('new', 'changed', 'same', 'bad')),
    why text,
    constraint import_lines_line_is_the_key primary key (import_id, line)
);

comment on table roster.import_lines is 'The lines of the imports of the last day that are under way or were not applied, and the bad lines of the others.';
comment on column roster.import_lines.line is 'Of the file; its header is line 1.';
comment on column roster.import_lines.cells is 'The line''s cells by the names in the file''s header; empty ones are left out.';
comment on column roster.import_lines.verdict is 'new: makes a row; changed: alters one; same: the row is so already; bad: why. Null: not judged yet.';

alter table roster.settings
    add import_into text not null default 'public.users',
    add import_columns jsonb not null default '{"email": "email", "name": "name", "role": "role", "blocked": "blocked"}';

comment on column roster.settings.import_into is 'The table that imports write; see roster.import_into().';
comment on column roster.settings.import_columns is 'Its columns, by the names an import knows: email, and whatever else the table has.';
