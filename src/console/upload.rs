//! A form with a file, as browsers send it.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use multer::Multipart;
use warp::http::{HeaderMap, header};

use super::pairs;

/// Bytes of such a form. Larger files are for `roster import`.
pub(super) const MAX: usize = 8 << 20;
/// Bytes of a larger one that are read and thrown away, so that the browser hears why.
pub(super) const BEYOND: usize = 56 << 20;
/// For all of it to arrive: 8 MiB at 150 kB a second.
pub(super) const TAKES: Duration = Duration::from_secs(60);
/// Fields beside the file.
const MOST_FIELDS: usize = 20;

/// A file that somebody chose.
pub(super) struct File {
    /// As the browser calls it.
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// Fields and file of a form, whichever way it was sent; none: it is no form.
pub(super) async fn form(
    headers: &HeaderMap,
    body: Bytes,
) -> Option<(Vec<(String, String)>, Option<File>)> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match multer::parse_boundary(kind) {
        Ok(boundary) => parts(boundary, body).await.ok(),
        Err(_) => Some((pairs(&body), None)),
    }
}

async fn parts(
    boundary: String,
    body: Bytes,
) -> multer::Result<(Vec<(String, String)>, Option<File>)> {
    let mut parts = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let (mut fields, mut file) = (Vec::new(), None);
    while let Some(part) = parts.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        match part.file_name().map(str::to_owned) {
            Some(called) => {
                let bytes = part.bytes().await?;
                file = Some(File {
                    name: called,
                    bytes,
                });
            }
            None if fields.len() < MOST_FIELDS => fields.push((name, part.text().await?)),
            None => {}
        }
    }
    Ok((fields, file))
}
