//! Where the token stands in a request (RFC 6750 section 2.1): in one `Authorization` header, nowhere else.

use url::form_urlencoded;
use warp::http::{HeaderMap, header};

use super::rejection::Refusal;

/// The bearer token of a request.
///
/// Two `Authorization` headers are refused: a proxy may have read the one and we the other. A token in the query is
/// refused whatever else was sent: it ends up in logs and referrers.
///
/// # Errors
/// [`Refusal::InvalidRequest`]; [`Refusal::TokenMissing`] if there is none, or of another scheme.
pub(super) fn token<'a>(headers: &'a HeaderMap, query: &str) -> Result<&'a str, Refusal> {
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        return Err(Refusal::InvalidRequest(
            "a token does not belong in the address",
        ));
    }
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let value = sent.next().ok_or(Refusal::TokenMissing)?;
    if sent.next().is_some() {
        return Err(Refusal::InvalidRequest(
            "there is more than one Authorization header",
        ));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.trim_end().split_once(' '))
        .ok_or(Refusal::TokenMissing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::TokenMissing);
    }
    Ok(token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_read_from_one_authorization_header_only() {
        let table: [(&[&str], &str, Result<&str, &str>); 11] = [
            (&["Bearer a.b.c"], "", Ok("a.b.c")),
            (&["bearer  a.b.c"], "x=1", Ok("a.b.c")),
            (&["BEARER a.b.c "], "", Ok("a.b.c")),
            (&[], "", Err("token_missing")),
            (&["Bearer"], "", Err("token_missing")),
            (&["Bearer "], "", Err("token_missing")),
            (&["Basic YTpi"], "", Err("token_missing")),
            (
                &["Bearer a.b.c", "Bearer a.b.c"],
                "",
                Err("invalid_request"),
            ),
            (&["Basic YTpi", "Bearer a.b.c"], "", Err("invalid_request")),
            (&["Bearer a.b.c"], "access_token=x", Err("invalid_request")),
            (&[], "a=b&access%5Ftoken=x", Err("invalid_request")),
        ];
        for (sent, query, expected) in table {
            let headers = headers(sent);
            let read = token(&headers, query);
            let read = read.as_ref().map(|token| *token).map_err(Refusal::code);
            assert_eq!(read, expected, "{sent:?} {query}");
        }
    }
}
