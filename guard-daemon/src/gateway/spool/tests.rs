use std::collections::VecDeque;

use super::*;

/// A body in pieces; after the last it ends, fails or stalls.
struct Pieces {
    left: VecDeque<Bytes>,
    end: End,
    announced: Option<u64>,
}

#[derive(Clone, Copy)]
enum End {
    Clean,
    Bad(io::ErrorKind),
    Never,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.left.pop_front(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Bad(kind)) => Poll::Ready(Some(Err(kind.into()))),
            (None, End::Never) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn pieces(count: usize, size: usize, end: End) -> Pieces {
    let piece = |at: usize| Bytes::from(vec![u8::try_from(at % 251).expect("small"); size]);
    Pieces {
        left: (0..count).map(piece).collect(),
        end,
        announced: None,
    }
}

fn spooling(source: Pieces, directory: PathBuf, limit: u64) -> Spool<Pieces> {
    Spool::new(source, directory, limit, Share::default().lease())
}

async fn replay(mut spool: Spool<Pieces>) -> Result<Bytes, BodyError> {
    spool
        .take()
        .await?
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
}

#[tokio::test]
async fn a_body_is_hashed_and_replayed_from_memory_and_from_a_file() {
    for (count, size) in [(0, 1), (1, 10), (9, 1024 * 1024), (20, 1_000_003)] {
        let directory = tempfile::tempdir().expect("a directory");
        let all: Vec<u8> = pieces(count, size, End::Clean)
            .left
            .into_iter()
            .flatten()
            .collect();
        let mut spool = spooling(
            pieces(count, size, End::Clean),
            directory.path().join("spool"),
            1 << 30,
        );
        assert_eq!(spool.sha256(), None, "not yet here");
        spool.collect().await.expect("collected");
        let digest = digest::digest(&digest::SHA256, &all);
        assert_eq!(spool.sha256(), Some(hex::encode(digest)));
        match spool.view() {
            BodyView::Whole(body) => assert!(body == all && all.len() <= IN_MEMORY),
            BodyView::Unread => assert!(all.len() > IN_MEMORY),
        }
        let left = std::fs::read_dir(directory.path())
            .expect("a directory")
            .flatten();
        for entry in left {
            let mut files = std::fs::read_dir(entry.path()).expect("the spool");
            assert!(files.next().is_none(), "the file is unlinked");
        }
        assert!(
            replay(spool).await.expect("replayed") == all,
            "{count} pieces of {size}"
        );
    }
}

#[tokio::test]
async fn too_large_a_body_is_refused_before_it_is_read_where_it_says_so() {
    let directory = std::env::temp_dir();
    let mut announced = pieces(3, 10, End::Never);
    announced.announced = Some(30);
    let mut spool = spooling(announced, directory.clone(), 29);
    assert_eq!(
        spool.collect().await,
        Err(BodyError::TooLarge { limit: 29 })
    );
    assert_eq!(spool.length, 0, "nothing was read");

    let mut silent = spooling(pieces(3, 10, End::Clean), directory.clone(), 29);
    assert_eq!(
        silent.collect().await,
        Err(BodyError::TooLarge { limit: 29 })
    );
    let mut fits = spooling(pieces(3, 10, End::Clean), directory, 31);
    assert_eq!(fits.collect().await, Ok(()));
}

#[tokio::test]
async fn what_was_spooled_up_to_the_limit_is_followed_by_the_rest() {
    let mut spool = spooling(pieces(10, 10, End::Clean), std::env::temp_dir(), 35);
    spool.fill().await.expect("filled");
    assert!(!spool.has_arrived() && spool.length == 40 && spool.sha256().is_none());
    assert!(matches!(spool.view(), BodyView::Unread));
    let all: Vec<u8> = pieces(10, 10, End::Clean)
        .left
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(replay(spool).await.expect("replayed"), all);
}

#[tokio::test]
async fn what_is_read_ahead_is_followed_by_the_rest_as_it_arrives() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = pieces(10, 100, End::Clean);
    let mut spool = spooling(source, directory.path().join("spool"), 10_000);
    spool.fill_to(250).await.expect("filled");
    assert_eq!((spool.length, spool.has_arrived()), (300, false));
    assert_eq!(replay(spool).await.expect("replayed").len(), 1000);

    let source = pieces(2, 100, End::Bad(io::ErrorKind::InvalidData));
    let mut spool = spooling(source, directory.path().join("spool"), 10_000);
    let error = spool
        .fill_to(250)
        .await
        .expect_err("a bad chunk is found before anything is sent");
    assert_eq!(error.code(), "malformed-request");
}

#[tokio::test]
async fn filling_may_be_interrupted_without_loss() {
    let mut spool = spooling(
        pieces(12, 1024 * 1024, End::Never),
        std::env::temp_dir(),
        1 << 30,
    );
    let interrupted = tokio::time::timeout(Duration::from_millis(200), spool.fill()).await;
    assert!(interrupted.is_err());
    if let Some(source) = &mut spool.source {
        source.end = End::Clean;
    }
    spool.collect().await.expect("collected");
    let all: Vec<u8> = pieces(12, 1024 * 1024, End::Clean)
        .left
        .into_iter()
        .flatten()
        .collect();
    assert!(replay(spool).await.expect("replayed") == all);
}

#[tokio::test]
async fn a_client_that_leaves_is_told_from_one_that_errs() {
    for (kind, expected) in [
        (io::ErrorKind::ConnectionReset, "client-gone"),
        (io::ErrorKind::UnexpectedEof, "client-gone"),
        (io::ErrorKind::InvalidInput, "malformed-request"),
    ] {
        let mut spool = spooling(pieces(1, 10, End::Bad(kind)), std::env::temp_dir(), 100);
        assert_eq!(spool.collect().await.expect_err("failed").code(), expected);
    }
}

#[tokio::test]
async fn a_slow_client_is_given_up_where_the_whole_body_is_needed() {
    let waited = |length: u64, seconds| {
        let mut spool = spooling(pieces(0, 1, End::Never), std::env::temp_dir(), 1 << 30);
        (spool.length, spool.waited) = (length, Duration::from_secs(seconds));
        spool
    };
    assert_eq!(waited(0, 60).collect().await, Err(BodyError::Slow));
    let length = 100 * BYTES_A_SECOND;
    assert_eq!(waited(length, 160).collect().await, Err(BodyError::Slow));
    let mut in_time = waited(length, 159);
    let at_once = Duration::from_millis(50);
    let waits = tokio::time::timeout(at_once, in_time.collect()).await;
    assert!(waits.is_err(), "it still has a second");
}

#[tokio::test]
async fn what_was_collected_counts_until_it_was_sent_and_not_while_the_rest_arrives() {
    let share = Share::default();
    let source = pieces(4, 100, End::Never);
    let mut spool = Spool::new(source, std::env::temp_dir(), 200, share.lease());
    spool.fill().await.expect("filled");
    let mut taken = spool.take().await.expect("taken");
    let on_its_way = taken.frame().await.expect("a frame").expect("data");
    let mut on_its_way = on_its_way.into_data().expect("data");
    taken.frame().await.expect("a frame").expect("data");
    assert_eq!(share.held().0, 200, "whoever sends it still holds it");
    let last = on_its_way.split_off(199);
    drop(on_its_way);
    assert_eq!(share.held().0, 200, "the buffer is there for its last byte");
    drop(last);
    assert_eq!(share.held().0, 0);
    taken.frame().await.expect("a frame").expect("data");
    assert_eq!(share.held().0, 0, "the rest passes as it arrives");
}

/// Of these, and what is at once too much for one session.
const MIB: usize = 1024 * 1024;
const SHARE: usize = 64;

#[tokio::test]
async fn pieces_that_are_counted_are_counted_until_they_were_sent() {
    let share = Share::default();
    let source = pieces(3 * SHARE, MIB, End::Clean);
    let mut spool = Spool::new(source, std::env::temp_dir(), 0, share.lease());
    let mut body = spool.take().await.expect("taken").counted();
    let mut on_their_way = VecDeque::new();
    let mut length = 0;
    while let Some(piece) = body.frame().await {
        let piece = piece.expect("within the share").into_data().expect("data");
        length += piece.len();
        on_their_way.push_back(piece);
        assert_eq!(share.held().0, (on_their_way.len() * MIB) as u64);
        if on_their_way.len() == SHARE / 4 {
            on_their_way.pop_front();
        }
    }
    assert_eq!(length, 3 * SHARE * MIB, "more than may be held at once");
    drop(on_their_way);
    assert_eq!(share.held().0, 0);
}

#[tokio::test]
async fn a_piece_waits_until_others_were_sent() {
    let share = Share::default();
    let source = pieces(2 * SHARE, MIB, End::Clean);
    let mut spool = Spool::new(source, std::env::temp_dir(), 0, share.lease());
    let mut body = spool.take().await.expect("taken").counted();
    let mut on_their_way = Vec::new();
    let a_moment = Duration::from_millis(200);
    while let Ok(piece) = tokio::time::timeout(a_moment, body.frame()).await {
        on_their_way.push(piece.expect("a frame").expect("it waits, no more"));
    }
    let count = on_their_way.len();
    assert!(count <= SHARE, "{count} pieces are more than the share");
    assert!(!body.is_end_stream(), "what waits is not lost");
    on_their_way.truncate(count / 2);
    for _ in count..2 * SHARE {
        let piece = body.frame().await.expect("a frame").expect("it leaves now");
        assert_eq!(piece.data_ref().map(Bytes::len), Some(MIB));
    }
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_large_body_goes_to_the_disk_where_the_memory_is_used_up() {
    let directory = tempfile::tempdir().unwrap();
    let share = Share::default();
    let mut hoard = share.lease().take_memory();
    let mut held = 0;
    while hoard.draw(1 << 20).is_ok() {
        held += 1 << 20;
    }
    hoard.keep(held - (2 << 20));
    let spool = |size: usize| {
        let source = pieces(size / 65536, 65536, End::Clean);
        Spool::new(source, directory.path().into(), u64::MAX, share.lease())
    };
    let mut large = spool(6 << 20);
    large.collect().await.unwrap();
    assert!(large.file.is_some());
    assert_eq!(replay(large).await.unwrap().len(), 6 << 20);
    let mut taken = spool(2 << 20);
    taken.collect().await.unwrap();
    assert_eq!(spool(1 << 19).collect().await, Err(BodyError::Busy));
    drop(taken);
    spool(1 << 19).collect().await.unwrap();
}
