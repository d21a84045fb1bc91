//! Where Auth0 itself, or what is known of it, departs from its published schema.

/// Operations that Roster asks for and the published subset leaves out, and where they are described. Their answers are
/// held to nothing.
pub(super) const UNDESCRIBED: &[(&str, &str, &str)] = &[(
    "GET",
    "/api/v2/connections",
    "the API's reference: connections, with read:connections",
)];

/// An operation, a status it answers without listing it, and how that is known.
pub(super) const UNLISTED: &[(&str, u16, &str)] = &[
    (
        "DELETE /roles/{id}/permissions",
        204,
        "recorded: the schema says 200",
    ),
    (
        "GET /users",
        414,
        "the documentation of user search: an overlong query",
    ),
    (
        "PATCH /users/{id}",
        409,
        "an address that is taken: one of the two answers the field knows",
    ),
];

/// Statuses that any operation may answer without listing them, and how that is known.
pub(super) const ANYWHERE: &[(u16, &str)] = &[(
    413,
    "the API's introduction: a body over one megabyte, at every endpoint",
)];

/// An operation and a status whose recorded bodies fit more than one shape of a `oneOf`.
pub(super) const AMBIGUOUS: &[(&str, u16, &str)] = &[(
    "GET /roles/{id}/users",
    200,
    "recorded: with `take` the answer fits two of the three shapes",
)];

/// An operation, a status, and a key that its schema requires without describing it, and why it may be missing.
pub(super) const NOT_REQUIRED: &[(&str, u16, &str, &str)] = &[(
    "POST /jobs/users-exports",
    200,
    "connection",
    "an export of all connections has none to name",
)];
