//! Where a storm takes place: a tenant that serves one seed after the other, and for each a database of its own.

use std::{mem::ManuallyDrop, time::Duration};

use roster::{
    auth0,
    db::{
        mirror::{LOST_CALL_WAIT, Terms},
        pool::Pool,
        reactors::Settings,
    },
    emulator,
    progress::Progress,
    reactor::{AFTERLOOKS, Imports, Reactor},
};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    history::{History, Mix},
    operator::{self, Known},
    people,
    sabotage::Sabotage,
    way::Way,
};
use crate::support::{
    Database,
    world::{Tenant, client},
};

/// What a slow answer comes later than; see [`Mix::call_timeout`].
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(300);
const PERMIT_WAIT: Duration = Duration::from_millis(300);
/// What is left of a call's deadline for the time between its mark and its turn.
const QUEUE: Duration = Duration::from_millis(600);

/// One seed's database and tenant, and what is known of it.
pub(super) struct Stage<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) database: Database,
    /// A session for what is no part of the storm.
    pub(super) control: Client,
    /// As the authorization server has one.
    pub(super) pool: Pool,
    pub(super) known: Known,
    sabotage: Option<Sabotage>,
    mix: &'a Mix,
    removals_min: i32,
    /// Whether what is removed is deleted.
    pub(super) deletes: bool,
}

/// A tenant without rate limits of its own, whose tokens last some seconds only.
pub(super) async fn tenant() -> Tenant {
    let options = emulator::Options {
        token_lifetime_seconds: 4,
        ..emulator::Options::default()
    };
    Tenant::unjudged(options).await
}

impl<'a> Stage<'a> {
    /// Everybody at home but those whose accounts were there before Roster.
    pub(super) async fn set(
        tenant: &'a Tenant,
        sabotage: Option<Sabotage>,
        mix: &'a Mix,
        history: &History,
    ) -> Self {
        let database = Database::copy_of(template().await).await;
        // There is little to find a plan for and many sessions are short, so that most of the time would go into planning.
        let once = format!(
            "alter database {name} set plan_cache_mode = force_generic_plan; alter database {name} set storm.commit_takes = {}",
            mix.commit_takes.as_secs_f64(),
            name = database.name()
        );
        let control = database.client().await;
        control.batch_execute(&once).await.expect(&once);
        tenant.control("reset", json!({})).await;
        for person in people::ADOPTED {
            let account = json!({
                "user_id": operator::earlier(person), "email": people::home(person), "email_verified": true,
                "app_metadata": {"theirs": person},
            });
            tenant.control("users", account).await;
        }
        if let Some(sabotage) = sabotage {
            let sql = sabotage.sql();
            control.batch_execute(&sql).await.expect("a sabotage");
        }
        let stage = Self {
            tenant,
            pool: database.endpoint().pool(1),
            database,
            control,
            known: Known::default(),
            sabotage,
            mix,
            removals_min: history.removals_min,
            deletes: history.deletes,
        };
        stage
            .control
            .batch_execute("select roster.set_mode('enforce')")
            .await
            .expect("a mode");
        let insert = "insert into users (email, name, person) select 'p' || n || '@example.test', 'Person ' || n, n \
             from generate_series(0, $1::integer) n where n <> all ($2)";
        let adopted: Vec<i32> = people::ADOPTED.map(|n| n.cast_signed()).collect();
        let last = (people::ORDINARY.end - 1).cast_signed();
        stage
            .control
            .execute(insert, &[&last, &adopted])
            .await
            .expect(insert);
        stage
    }

    /// A reactor that reaches the database in this way, as it is after a start: it knows neither token nor pace.
    pub(super) fn reactor(&self, way: &Way) -> Reactor {
        self.reactor_at(way.endpoint().pool(2), self.auth0())
    }

    /// The same, straight to the database, and with patience for a busy machine.
    pub(super) fn closing_reactor(&self) -> Reactor {
        let mut reactor = self.reactor_at(
            self.database.endpoint().pool(2),
            client(self.tenant, |_| {}),
        );
        reactor.terms.lease = Duration::from_secs(60);
        reactor
    }

    fn reactor_at(&self, pool: Pool, client: auth0::Client) -> Reactor {
        let sabotage = |s| self.sabotage == Some(s);
        Reactor {
            pool,
            terms: Terms {
                reactor: match sabotage(Sabotage::Fence) {
                    true => Uuid::from_u128(1),
                    false => Uuid::new_v4(),
                },
                lease: self.mix.lease,
                call_deadline: client.longest_call() + QUEUE,
                claim_ids: match sabotage(Sabotage::Fence) {
                    true => || Uuid::from_u128(2),
                    false => Uuid::new_v4,
                },
                invitations_per_minute: 1_000_000,
                lost_call_wait: LOST_CALL_WAIT,
                jitter: rand::random,
            },
            settings: Settings {
                tenant: self.tenant.url.clone(),
                connection: client.connection().to_owned(),
                guard_window: 3600.0,
                guard_removals_min: self.removals_min,
                guard_removals_share: 0.0,
                guard_protected: Vec::new(),
                guard_min_admins: 0,
                guard_admin_role: None,
                delete_after: self.deletes.then_some(0.0),
                token_lifetime: 86_400.0,
                invitation_send: "auth0_email".to_owned(),
            },
            client,
            poll_interval: self.mix.poll,
            afterlooks: match sabotage(Sabotage::Afterlooks) {
                true => &[],
                false => AFTERLOOKS,
            },
            sweep_every: Duration::from_secs(3600),
            history_keep: Duration::from_secs(3600),
            workers: 16,
            imports: Imports::Never,
            progress: Progress::default(),
        }
    }

    /// A client of the tenant's API.
    pub(super) fn auth0(&self) -> auth0::Client {
        client(self.tenant, |settings| {
            settings.call_timeout = self.mix.call_timeout;
            settings.permit_wait = PERMIT_WAIT;
        })
    }
}

/// A migrated database, with what the storm adds to it.
async fn template() -> &'static Database {
    static TEMPLATE: tokio::sync::OnceCell<ManuallyDrop<Database>> =
        tokio::sync::OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            // Kept until the server ends: each seed has a runtime of its own, so nothing may stay connected.
            let database = ManuallyDrop::new(Database::migrated().await);
            let client = database.client().await;
            client.batch_execute(ADDED).await.expect(ADDED);
            database
        })
        .await
}

/// What a storm adds to a migrated database: a column to tell people apart; what the oracle remembers of each row; and commits that
/// take as long as they do on a disk.
const ADDED: &str = "
    alter table users add column person integer, add column note text;
    create schema storm;
    create table storm.freed (
        number bigint generated always as identity primary key, txid xid8 default pg_current_xact_id(),
        id integer, person integer, email text, auth0_user_id text);
    create table storm.history (
        number bigint generated always as identity primary key, txid xid8 default pg_current_xact_id(), op text, person integer,
        before text, after text, is_mirrored boolean);
    create function storm.remember() returns trigger language plpgsql as $$
    begin
        if tg_op <> 'INSERT' and (tg_op = 'DELETE' or old.id <> new.id) then
            insert into storm.freed (id, person, email, auth0_user_id) values (old.id, old.person, old.email, old.auth0_user_id);
        end if;
        insert into storm.history (op, person, before, after, is_mirrored) values (
            lower(tg_op), coalesce(new.person, old.person), lower(old.email), lower(new.email),
            (old.id, lower(old.email), old.name, old.role, old.blocked) is distinct from (new.id, lower(new.email), new.name, new.role, new.blocked));
        return null;
    end $$;
    create trigger remember after insert or update or delete on users for each row execute function storm.remember();
    alter table users enable always trigger remember;
    create function storm.flush() returns trigger language plpgsql as $$
    begin
        if random() < 0.5 then perform pg_sleep(random() * coalesce(nullif(current_setting('storm.commit_takes', true), ''), '0')::float8); end if;
        return null;
    end $$;
    create constraint trigger zz_flush after insert on roster.changes deferrable initially deferred for each row execute function storm.flush();
    alter table roster.changes enable always trigger zz_flush;
    insert into roles values ('Artist'), ('Editor'), ('Admin');
    insert into role_permissions values ('Artist', 'paint:canvas'), ('Editor', 'edit:text'), ('Editor', 'more:1'), ('Admin', 'all:all');
";
