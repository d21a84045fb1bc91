//! A request's body, read with limits on its bytes and on the time it takes, and on what all of them together may hold.
//!
//! warp's own filters have no running limit, answer 411 to a chunked body and reject by themselves. This one never
//! rejects: what is wrong is a value that the endpoint answers in its own words. Nothing is read before [`Unread::read`], so that who
//! is turned away by the headers costs no memory.

use std::{pin::Pin, time::Duration};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::{sync::Semaphore, time::timeout};
use warp::{Filter, Rejection, http::HeaderValue};

/// Bytes of a body that are read: a thousand evaluations with room to spare.
pub const MAX_BODY: usize = 256 * 1024;
/// From the end of the headers to the last byte of the body.
const DEADLINE: Duration = Duration::from_secs(5);

/// Bytes of a body that need no place in [`ROOM`]: what nearly all have. So the large ones of some never hold up the small ones of others.
const SMALL: usize = 8 * 1024;
/// Kilobytes that the large bodies of all requests may hold while they are read. Who finds no room waits, as long as the deadline allows.
static ROOM: Semaphore = Semaphore::const_new(64 * 1024);

/// Why a body was not had. hyper closes the connection after the answer: what is left of the body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body took longer than {} s", DEADLINE.as_secs())]
    TooSlow,
    #[error("the body broke off")]
    Broken,
}

/// A body that is still on its way.
pub struct Unread {
    length: Option<HeaderValue>,
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>,
    limit: usize,
}

impl Unread {
    /// The body. One that says it is longer than its limit is not read at all.
    ///
    /// # Errors
    /// [`BodyError`].
    pub async fn read(self) -> Result<Bytes, BodyError> {
        read_within(self.length, self.stream, self.limit, 0, DEADLINE).await
    }
}

/// The body, of which no more than `limit` bytes will be read.
pub fn body(limit: usize) -> impl Filter<Extract = (Unread,), Error = Rejection> + Clone {
    let length = warp::header::value("content-length")
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    length
        .and(warp::body::stream())
        .map(move |length, stream| Unread {
            length,
            stream: Box::pin(whole(stream)),
            limit,
        })
}

fn whole(
    stream: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
) -> impl Stream<Item = Result<Bytes, warp::Error>> + Send {
    stream.map(|chunk| {
        let mut chunk = chunk?;
        Ok(chunk.copy_to_bytes(chunk.remaining()))
    })
}

/// As [`Unread::read`] has it, within another deadline. As many bytes beyond the limit are read and thrown away, so that whoever goes on sending
/// hears the answer: a browser that is cut off shows its own words instead.
///
/// # Errors
/// [`BodyError`].
pub async fn read_within(
    length: Option<HeaderValue>,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: usize,
    beyond: usize,
    deadline: Duration,
) -> Result<Bytes, BodyError> {
    let said = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > (limit + beyond) as u64) {
        return Err(BodyError::TooLarge(limit));
    }
    let read = timeout(deadline, read(stream, limit, beyond)).await;
    read.unwrap_or(Err(BodyError::TooSlow))
}

async fn read(
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: usize,
    beyond: usize,
) -> Result<Bytes, BodyError> {
    let mut stream = std::pin::pin!(stream);
    let (mut body, mut passed) = (Vec::new(), 0);
    let mut room = None;
    while let Some(mut chunk) = stream.try_next().await.map_err(|_| BodyError::Broken)? {
        passed += chunk.remaining();
        if passed > limit + beyond {
            return Err(BodyError::TooLarge(limit));
        }
        if passed > limit {
            body.clear();
            continue;
        }
        if passed > SMALL && room.is_none() {
            // For as much as it may become, so that nobody waits for room while holding some.
            let kilobytes = u32::try_from(limit.div_ceil(1024)).unwrap_or(u32::MAX);
            let place = ROOM.acquire_many(kilobytes).await;
            room = Some(place.map_err(|_| BodyError::Broken)?);
        }
        while chunk.has_remaining() {
            let piece = chunk.chunk();
            body.extend_from_slice(piece);
            let read = piece.len();
            chunk.advance(read);
        }
    }
    match passed > limit {
        true => Err(BodyError::TooLarge(limit)),
        false => Ok(body.into()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    async fn of(limit: usize, request: warp::test::RequestBuilder) -> Result<Bytes, BodyError> {
        let unread = request.filter(&body(limit)).await.expect("no rejection");
        unread.read().await
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let request = || warp::test::request().method("POST");
        assert_eq!(of(5, request().body("12345")).await.unwrap(), "12345");
        assert_eq!(
            of(4, request().body("12345")).await,
            Err(BodyError::TooLarge(4))
        );
        assert_eq!(of(4, request()).await.unwrap(), "");
        // It is believed when it says that it is too long, and counted whatever it says.
        let said = |length| request().body("12345").header("content-length", length);
        assert_eq!(of(5, said("6")).await, Err(BodyError::TooLarge(5)));
        assert_eq!(of(4, said("4")).await, Err(BodyError::TooLarge(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_waits_for_room_and_a_small_one_does_not() {
        let all = ROOM.acquire_many(64 * 1024).await.unwrap();
        let sent = |bytes| stream::iter([Ok::<_, warp::Error>(Bytes::from(vec![0; bytes]))]);
        let read = |bytes| read_within(None, sent(bytes), MAX_BODY, 0, DEADLINE);
        assert_eq!(read(SMALL).await.unwrap().len(), SMALL);
        assert_eq!(read(SMALL + 1).await, Err(BodyError::TooSlow));
        drop(all);
        assert_eq!(read(SMALL + 1).await.unwrap().len(), SMALL + 1);
    }

    #[tokio::test]
    async fn the_limit_holds_for_all_pieces_together() {
        let pieces = || {
            let pieces = ["12", "34", "5"].map(|piece| Ok::<_, warp::Error>(Bytes::from(piece)));
            stream::iter(pieces)
        };
        assert_eq!(read(pieces(), 5, 0).await.unwrap(), "12345");
        assert_eq!(read(pieces(), 4, 0).await, Err(BodyError::TooLarge(4)));
        // What is beyond is read, and is no body all the same.
        let mut whole = pieces();
        let refused = read(&mut whole, 2, 3).await;
        assert_eq!(refused, Err(BodyError::TooLarge(2)));
        assert!(whole.next().await.is_none());
    }
}
