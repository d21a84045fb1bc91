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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use postgres_protocol::{
        IsNull,
        types::{ArrayDimension, array_to_sql, text_to_sql},
    };

    use super::*;

    #[test]
    fn an_array_of_any_form_is_a_sorted_list_without_doubles() {
        let elements = [Some("b"), None, Some("a"), Some("b")];
        for lengths in [vec![4], vec![2, 2]] {
            let mut raw = BytesMut::new();
            let dimensions = lengths.iter().map(|&len| ArrayDimension {
                len,
                lower_bound: 1,
            });
            let write = |text: Option<&str>, raw: &mut BytesMut| {
                let Some(text) = text else {
                    return Ok(IsNull::Yes);
                };
                text_to_sql(text, raw);
                Ok(IsNull::No)
            };
            array_to_sql(dimensions, Type::TEXT.oid(), elements, write, &mut raw).unwrap();
            let read = Permissions::from_sql(&Type::TEXT_ARRAY, &raw).unwrap();
            assert_eq!(read.0, ["a", "b"], "{lengths:?}");
        }
        let none = Permissions::from_sql_null(&Type::TEXT_ARRAY).unwrap();
        assert_eq!(none.0, [""; 0]);
    }
}
