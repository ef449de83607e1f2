use http_body_util::{BodyExt as _, StreamBody};

use super::*;

type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

fn body(frames: Frames) -> impl Body<Data = Bytes, Error = &'static str> + Unpin {
    StreamBody::new(futures_util::stream::iter(frames))
}

fn data(bytes: &'static [u8]) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(bytes)))
}

/// Bytes, whether trailers came, and with what it broke off.
async fn all_of(
    mut body: impl Body<Data = Bytes, Error = &'static str> + Unpin,
) -> (Vec<u8>, bool, Option<&'static str>) {
    let (mut bytes, mut has_trailers) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(_)) => has_trailers = true,
            Err(error) => return (bytes, has_trailers, Some(error)),
        }
    }
    (bytes, has_trailers, None)
}

#[tokio::test]
async fn what_was_read_of_a_body_is_still_in_it() {
    const LONG: &[u8] = &[7; REQUEST_BYTES_MAX + 1];
    let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
    let bodies: [(fn() -> Frames, bool); 4] = [
        (|| vec![data(b"one"), data(b"two")], true),
        (|| vec![data(b"one"), Err("broke off")], false),
        (|| vec![data(LONG), data(b"more")], false),
        (Vec::new, true),
    ];
    for (frames, is_whole) in bodies {
        let rest = read(body(frames()), REQUEST_BYTES_MAX).await;
        assert_eq!(rest.whole().is_some(), is_whole);
        assert_eq!(all_of(rest).await, all_of(body(frames())).await);
    }
    let rest = read(body(vec![data(b"one"), trailers()]), REQUEST_BYTES_MAX).await;
    assert!(rest.whole().is_none(), "metadata may come behind");
    assert_eq!(all_of(rest).await, (b"one".to_vec(), true, None));
}
