//! A client that writes bytes, since a decent one would not write these.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What a client was told first. Status 0 where the connection was closed without a word.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    head: String,
}

impl Told {
    /// The value of a header, by its lower-case name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (sent, value) = line.split_once(':')?;
            sent.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A proxy that waits for more of a broken request is left after this, as it would leave us later.
const PATIENCE: Duration = Duration::from_secs(20);
/// One that has answered and keeps the connection is left after this.
const AFTERTHOUGHT: Duration = Duration::from_secs(1);

/// Writes a request, and reads what comes until the proxy closes the connection or has no more to say.
pub(super) async fn send(port: u16, request: &[u8]) -> Told {
    let mut socket = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("the proxy listens");
    // It may have heard enough before the end, and closed.
    let _ = timeout(PATIENCE, socket.write_all(request)).await;
    let mut answer = Vec::new();
    loop {
        let answered = answer.windows(4).any(|end| end == b"\r\n\r\n");
        let patience = if answered { AFTERTHOUGHT } else { PATIENCE };
        match timeout(patience, socket.read_buf(&mut answer)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Told {
        status: status.unwrap_or(0),
        head: head.to_owned(),
    }
}
