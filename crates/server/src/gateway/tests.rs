use super::*;

/// What a body of these frames is as messages of a gRPC stream.
async fn messages(frames: impl Iterator<Item = Bytes> + Send + 'static) -> Vec<Bytes> {
    let frames = frames.map(|data| Ok::<_, Status>(Frame::data(data)));
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    let described = Described::named("authzed.api.v1.ImportBulkRelationshipsRequest").unwrap();
    let lines = lines_of(described, body);
    lines.map(Result::unwrap).collect().await
}

#[tokio::test]
async fn lines_are_the_same_however_they_are_cut() {
    const TEXT: &str = "{}\n\n  \n{\"relationships\":[{}]}\r\n{\"relationships\":[{},{}]}";
    let whole = messages(std::iter::once(Bytes::from(TEXT))).await;
    assert_eq!(whole.iter().map(Bytes::len).collect::<Vec<_>>(), [5, 7, 9]);
    for size in 1..TEXT.len() {
        let cut = TEXT.as_bytes().chunks(size).map(Bytes::from_static);
        assert_eq!(messages(cut).await, whole, "in frames of {size}");
    }
}

#[tokio::test]
async fn a_long_line_of_many_frames_costs_its_length_and_not_its_square() {
    const FRAMES: usize = 200_000;
    let began = tokio::time::Instant::now();
    let spaces = std::iter::repeat_n(Bytes::from_static(b" "), FRAMES);
    let read = messages(spaces.chain(std::iter::once(Bytes::from_static(b"{}\n"))));
    assert_eq!(read.await.len(), 1);
    // Looking at all that was read at each frame would take a minute.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}
