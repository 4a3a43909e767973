//! Reading what callers send, up to a limit.
//!
//! A caller that sends too much is still listened to for a while, because one that is cut off in the middle of writing may
//! never read why.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use lgsp_proto::Reason;

use crate::problem::Problem;

/// How much of what is too long is read all the same, to be thrown away.
const DRAINED_BYTES: usize = 16 << 20;

/// The whole of a body of at most `limit` bytes.
///
/// # Errors
/// It is longer, or breaks off.
pub(super) async fn whole(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| Problem::malformed("the body breaks off");
        let frame = frame.map_err(broken)?;
        let Ok(bytes) = frame.into_data() else { continue };
        if read.len() + bytes.len() > limit {
            drain(body).await;
            return Err(Reason::MessageTooLarge.into());
        }
        read.extend_from_slice(&bytes);
    }
    Ok(read.into())
}

/// Reads the rest of a body that is refused, as far as that is bearable.
pub(super) async fn drain(body: Body) {
    let mut rest = Limited::new(body, DRAINED_BYTES);
    while let Some(Ok(_)) = rest.frame().await {}
}
