-- Leases: until when a reactor has a user to itself, and when it is known to be gone before that.
--
-- Guarantees: claim, roster.plan and the views for people agree on what a lease is worth, since all of them ask here. A reactor counts as
-- gone once it stopped, or once its heartbeat is missing while another reactor's kept coming: a database that was away (a restart, a
-- failover) silences all of them at once, and then nobody is gone until somebody was heard for long enough beside that silence. Being
-- wrong is harmless: who was given up too early has its results refused, and its calls under way are waited for and looked at.
create or replace function roster.heartbeat_patience() returns interval
    language sql immutable parallel safe
return interval '5 seconds';

comment on function roster.heartbeat_patience() is 'How long a reactor''s heartbeat, which comes each second, may be missing.';

-- Written by each reactor each second. The series begins anew after a gap, so that it tells how long this reactor was heard without one.
create or replace function roster.heartbeat(reactor uuid, budget jsonb) returns void
    language sql
    set search_path = pg_catalog, pg_temp
begin atomic
    update roster.reactors r
    set heartbeat_at = now(), budget = heartbeat.budget,
        beating_since = case when r.heartbeat_at between now() - roster.heartbeat_patience() and now() then r.beating_since else now() end
    where r.id = heartbeat.reactor;
end;

revoke execute on function roster.heartbeat(uuid, jsonb) from public;

comment on function roster.heartbeat(uuid, jsonb) is 'A reactor''s sign of life, with what is left of Auth0''s rate limits.';

create or replace view roster.reactors_gone as
select r.id
from roster.reactors r
where r.stopped_at is not null
    or r.heartbeat_at < now() - roster.heartbeat_patience() and exists (
        select from roster.reactors witness
        where witness.stopped_at is null
            and witness.heartbeat_at >= now() - roster.heartbeat_patience()
            and witness.beating_since <= now() - roster.heartbeat_patience()
    );

comment on view roster.reactors_gone is 'Reactors whose leases count for nothing: they stopped, or fell silent while another one was heard.';

create or replace view roster.leases as
select m.user_key, m.lease_by as reactor, m.lease_until
from roster.mirror m
where m.lease_until > now() and m.lease_by not in (select g.id from roster.reactors_gone g);

comment on view roster.leases is 'Whom a reactor has to itself just now, and until when at the latest.';
