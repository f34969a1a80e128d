//! A body that is all there, in up to three pieces: a large result is not copied for the sake of the few bytes
//! around it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// What is copied all the same, in bytes: a few pieces cost more than a small copy.
const SMALL: usize = 16 * 1024;

/// The body.
#[derive(Debug, Default)]
pub(crate) struct Whole([Bytes; 3]);

impl Whole {
    /// One text in the middle of two others.
    pub(super) fn around(mut before: Vec<u8>, middle: &Bytes, after: &'static [u8]) -> Self {
        if middle.len() <= SMALL {
            before.reserve_exact(middle.len() + after.len());
            before.extend_from_slice(middle);
            before.extend_from_slice(after);
            return before.into();
        }
        Self([before.into(), middle.clone(), Bytes::from_static(after)])
    }

    /// In one piece.
    pub(super) fn joined(self) -> Vec<u8> {
        self.0.concat()
    }

    /// With something that is dropped when the last byte has left, or is not wanted any more.
    pub(super) fn holding<T: Send + 'static>(mut self, held: T) -> Self {
        let last = self.0.iter_mut().rev().find(|piece| !piece.is_empty());
        if let Some(last) = last {
            *last = holding(std::mem::take(last), held);
        }
        self
    }
}

/// Bytes with something that is dropped when they are.
pub(super) fn holding<T: Send + 'static>(bytes: Bytes, held: T) -> Bytes {
    struct Held<T>(Bytes, T);
    impl<T> AsRef<[u8]> for Held<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, held))
}

impl From<Vec<u8>> for Whole {
    fn from(bytes: Vec<u8>) -> Self {
        Self([bytes.into(), Bytes::new(), Bytes::new()])
    }
}

impl From<String> for Whole {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.iter_mut().find(|piece| !piece.is_empty());
        Poll::Ready(next.map(|piece| Ok(Frame::data(std::mem::take(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn small_and_large_texts_come_in_order_and_are_as_long_as_is_said() {
        for length in [0, 1, SMALL, SMALL + 1] {
            let middle = Bytes::from(vec![b'x'; length]);
            let whole = || Whole::around(b"[".to_vec(), &middle, b"]");
            let expected = format!("[{}]", "x".repeat(length));
            assert_eq!(whole().size_hint().exact(), Some(length as u64 + 2));
            assert_eq!(whole().joined(), expected.as_bytes());
            let told = whole().collect().await.expect("all of it").to_bytes();
            assert_eq!(told, expected.as_bytes());
            // A large one is the very text, and no copy of it.
            let is_same = whole().0[1].as_ptr() == middle.as_ptr();
            assert_eq!(is_same && length > 0, length > SMALL);
        }
        assert!(Whole::default().is_end_stream());
    }

    #[tokio::test]
    async fn what_is_held_is_held_until_the_last_byte() {
        for length in [1, SMALL + 1] {
            let held = Arc::new(());
            let middle = Bytes::from(vec![b'x'; length]);
            let mut whole = Whole::around(b"[".to_vec(), &middle, b"]").holding(Arc::clone(&held));
            let mut last = None;
            while let Some(frame) = whole.frame().await {
                last = frame.expect("a frame").into_data().ok();
                assert_eq!(Arc::strong_count(&held), 2);
            }
            assert!(last.is_some_and(|last| last.ends_with(b"]")));
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }
}
