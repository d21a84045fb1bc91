//! The users table as migrate finds it: its columns, the view they allow, the indexes it lacks.

use tokio_postgres::Client;

use super::{DESIRED_USERS, MigrateError, sql};

/// What is known of `public.users`.
pub(super) struct UsersTable {
    pub(super) exists: bool,
    columns: Vec<String>,
}

impl UsersTable {
    pub(super) async fn inspect(client: &Client) -> Result<Self, MigrateError> {
        let columns: Vec<String> = client
            .query(
                "select attname::text from pg_attribute where attrelid = to_regclass('public.users') \
                 and attnum > 0 and not attisdropped order by attnum",
                &[],
            )
            .await
            .map_err(sql("the users table"))?
            .iter()
            .map(|row| row.get(0))
            .collect();
        Ok(Self {
            exists: !columns.is_empty(),
            columns,
        })
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c == column)
    }

    /// The default view, or a proposal to be written by hand where the columns it needs are not there.
    pub(super) fn mapping(&self) -> Result<String, String> {
        let expected = ["id", "auth0_user_id", "email", "name", "role"];
        let missing: Vec<&str> = expected.into_iter().filter(|c| !self.has(c)).collect();
        // Before the numbered files ran (a script for an empty database) they are about to make the table.
        if missing.is_empty() || !self.exists {
            let blocked = if self.has("blocked") || !self.exists {
                "u.blocked"
            } else {
                "false"
            };
            return Ok(DESIRED_USERS.replace("{blocked}", blocked));
        }
        let or = |column: &str, otherwise: &str| {
            if self.has(column) {
                format!("u.{column}::text")
            } else {
                otherwise.to_owned()
            }
        };
        Err(format!(
            "-- public.users has no {missing}. Say here which of its columns mean what, then run roster migrate again.\n\
             -- Its columns are: {columns}.\n\
             create view roster.desired_users as\n\
             select\n    {key} as user_key,\n    {email} as email,\n    {name} as name,\n    {role} as role,\n    \
             '{{}}'::text[] as permissions,\n    {blocked} as blocked,\n    {id} as auth0_user_id,\n    \
             '{{}}'::jsonb as app_metadata,\n    '{{}}'::jsonb as user_metadata\nfrom public.users u;\n",
            missing = missing.join(", "),
            columns = self.columns.join(", "),
            key = or("id", "/* its key */ null::text"),
            email = or("email", "/* its address */ null::text"),
            name = or("name", "null::text"),
            role = or("role", "null::text"),
            blocked = if self.has("blocked") {
                "u.blocked"
            } else {
                "false"
            },
            id = or("auth0_user_id", "null::text"),
        ))
    }

    /// Indexes the look-ups need and the table does not have. The table's data are asked, not its index names.
    pub(super) async fn missing_indexes(
        &self,
        client: &Client,
    ) -> Result<Vec<String>, MigrateError> {
        let mut missing = Vec::new();
        for (column, expression, name) in [
            ("id", "(id::text)", "users_roster_key"),
            ("email", "lower(email::text)", "users_roster_email"),
        ] {
            if !self.has(column) {
                continue;
            }
            let served: bool = client
                .query_one(
                    "select exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attname = $1 \
                     where i.indrelid = to_regclass('public.users') and i.indisvalid and i.indpred is null and ( \
                       regexp_replace(coalesce(pg_get_expr(i.indexprs, i.indrelid), ''), '[() ]|::text|::charactervarying', '', 'g') \
                         = regexp_replace($2, '[() ]|::text', '', 'g') \
                       or $1 = 'id' and i.indkey[0] = a.attnum and a.atttypid = 'text'::regtype))",
                    &[&column, &expression],
                )
                .await
                .map_err(sql("the indexes of the users table"))?
                .get(0);
            if !served {
                missing.push(format!(
                    "create index concurrently if not exists {name} on public.users ({expression})"
                ));
            }
        }
        Ok(missing)
    }
}
