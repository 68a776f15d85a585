//! What a server does to a tape in the middle of a talk.

use streamrip_lab::Trouble;

use crate::bench::{Bench, CHUNK, Channel, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn several_chunks_that_never_come_are_left_out_and_no_other() {
    let (bench, mut live) = (Bench::new(), Channel::start(40));
    for missing in ["/2.ts", "/3.ts"] {
        live.server.trouble(missing, usize::MAX, Trouble::Status(404));
    }
    live.tags.insert(4, "#EXT-X-GAP\n".to_owned());
    live.server.trouble("/7.ts", usize::MAX, Trouble::Silence);
    live.tags.insert(8, "#EXT-X-GAP\n".to_owned());
    live.publish(10);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 5 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    assert_same(&segments[0].content, &live.chunks([0, 1, 5, 6, 9]), "one file");
}
