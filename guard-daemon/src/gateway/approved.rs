//! The body of a call that a person approved, on its way while it still arrives: its end leaves only if it is the body
//! whose digest was approved.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::BodyError;

/// Passes a body on, but keeps the last piece back until it has seen what the whole is.
pub(super) struct Approved<B> {
    body: B,
    /// SHA-256 of the body, hexadecimal, in lower case.
    digest: String,
    hash: digest::Context,
    kept: Option<Bytes>,
    over: bool,
}

impl<B> Approved<B> {
    /// A body that must have this digest.
    pub(super) fn new(body: B, digest: String) -> Self {
        Self {
            body,
            digest,
            hash: digest::Context::new(&digest::SHA256),
            kept: None,
            over: false,
        }
    }
}

impl<B> Body for Approved<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while !this.over {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if data.is_empty() {
                        continue;
                    }
                    this.hash.update(&data);
                    if let Some(before) = this.kept.replace(data) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                Some(Err(error)) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.over = true;
                    let last = this.kept.take();
                    if hex::encode(this.hash.clone().finish()) != this.digest {
                        return Poll::Ready(Some(Err(BodyError::NotApproved)));
                    }
                    return Poll::Ready(last.map(|data| Ok(Frame::data(data))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.kept.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + kept);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + kept);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// In pieces.
    struct Pieces(Vec<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            let piece = self.0.remove(0);
            if piece == "gone" {
                return Poll::Ready(Some(Err(BodyError::Gone)));
            }
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|it| it.len() as u64).sum())
        }
    }

    /// What leaves of it, and how it ends.
    async fn leaves(pieces: &[&'static str], approved: &str) -> (String, Option<BodyError>) {
        let digest = hex::encode(digest::digest(&digest::SHA256, approved.as_bytes()));
        let mut body = Approved::new(Pieces(pieces.to_vec()), digest);
        let whole = body.size_hint().exact().expect("told");
        let mut left = String::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => left += str::from_utf8(frame.data_ref().unwrap()).unwrap(),
                Err(error) => return (left, Some(error)),
            }
            let hint = body.size_hint().exact().expect("told");
            assert_eq!(left.len() as u64 + hint, whole);
        }
        assert!(body.is_end_stream());
        (left, None)
    }

    #[tokio::test]
    async fn what_was_approved_leaves_whole_and_nothing_else_does() {
        for pieces in [&["abc"][..], &["a", "b", "c"], &["", "ab", "", "c", ""]] {
            assert_eq!(leaves(pieces, "abc").await, ("abc".to_owned(), None));
            let (left, error) = leaves(pieces, "abd").await;
            assert!(left.len() < 3, "{left}");
            assert_eq!(error, Some(BodyError::NotApproved));
        }
        assert_eq!(leaves(&[], "").await, (String::new(), None));
        let none = (String::new(), Some(BodyError::NotApproved));
        assert_eq!(leaves(&[], "a").await, none);
        let broken = ("a".to_owned(), Some(BodyError::Gone));
        assert_eq!(leaves(&["a", "b", "gone"], "ab").await, broken);
    }
}
