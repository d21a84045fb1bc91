//! Permissions as `roster.desired_users` has them, which anybody may have redefined.

use std::error::Error;

use fallible_iterator::FallibleIterator;
use postgres_protocol::types::{array_from_sql, text_from_sql};
use tokio_postgres::types::{FromSql, Type};

/// Sorted by their bytes, each once, whatever the array's order and dimensions; null is none.
pub(super) struct Permissions(pub(super) Vec<String>);

impl<'a> FromSql<'a> for Permissions {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let listed = array_from_sql(raw)?.values();
        let mut permissions: Vec<String> = listed
            .filter_map(|one| {
                one.map(|text| text_from_sql(text).map(str::to_owned))
                    .transpose()
            })
            .collect()?;
        permissions.sort_unstable();
        permissions.dedup();
        Ok(Self(permissions))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Vec::new()))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT_ARRAY
    }
}
