//! Checking the tenant's own tokens, for the Management API and `/userinfo`.

use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

use super::tenant::{SharedGuard, Tenant};

/// Why a token is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// Signed by nobody we know, or changed since.
    Signature,
    /// Made for somebody else.
    Audience,
    /// Anything else, from not being a token at all to another issuer.
    Other,
}

/// The claims of a token that a published key has signed for `audience`. The caller looks at `exp`: the tenant's clock
/// may be ahead of the machine's, which is the one the library knows.
///
/// # Errors
/// [`Problem`].
pub(super) fn verified(
    tenant: &Tenant,
    token: &str,
    audience: &str,
) -> Result<Map<String, Value>, Problem> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Problem::Other)?;
    let kid = header.kid.ok_or(Problem::Other)?;
    let key = tenant.keys.read_guard().published(&kid).cloned();
    let key = key
        .ok_or(Problem::Signature)?
        .decoding_key()
        .map_err(|_| Problem::Other)?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.set_audience(&[audience]);
    validation.set_issuer(&[tenant.issuer()]);
    jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
        .map(|token| token.claims)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Problem::Signature,
            ErrorKind::InvalidAudience => Problem::Audience,
            _ => Problem::Other,
        })
}
