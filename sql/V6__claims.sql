-- Which claim holds a lease, beside whose it is.
--
-- Guarantees: what a worker comes back with after its lease was lost is refused, also if its own reactor claimed the user again since.
-- Costs a claim nothing of note: the row is written anyway.
alter table roster.mirror add column claim_id uuid;

comment on column roster.mirror.claim_id is
    'The claim that lease_by last took this user with; only its results are recorded while the lease lasts. Null: never claimed.';
