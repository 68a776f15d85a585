use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::*;
use crate::domain::ids::{EventId, StreamId};
use crate::domain::media::TrackKind;
use crate::domain::settings::Settings;
use crate::domain::stream_url::StreamUrl;
use crate::source::{Running, Source};

fn heard(container: Container, codec: &str, bytes_per_second: u64) -> StreamTest {
    let sample = Sample { tracks: vec![(TrackKind::Video, codec.to_owned())], ..Sample::default() };
    StreamTest { container: Some(container), bytes_per_second, sample: Some(sample) }
}

#[test]
fn what_came_at_once_is_counted_by_its_length() {
    for (bytes, listened_ms, media_ms, want) in [
        (500_000, 5000, 5000, 100_000),
        // A chunk of HLS, and one more; the burst of an Icecast server.
        (1_200_000, 5000, 12_000, 100_000),
        (144_000, 5000, 9000, 16_000),
        // What its times do not tell, or what jumps, and a sample that is not all of it.
        (500_000, 5000, 0, 100_000),
        (500_000, 5000, -3000, 100_000),
        (500_000, 5000, i64::MAX, 100_000),
        (20_000_000, 5000, 2000, 4_000_000),
        (1000, 0, 0, 10_000),
    ] {
        assert_eq!(rate(bytes, Duration::from_millis(listened_ms), media_ms), want, "{bytes} {listened_ms} {media_ms}");
    }
}

#[test]
fn mirrors_are_compared_with_the_first_one() {
    let first = heard(Container::MpegTs, "h264", 100_000);
    for (other, want) in [
        (heard(Container::MpegTs, "h264", 150_000), None),
        (heard(Container::MpegTs, "h264", 201_000), Some("another rate")),
        (heard(Container::MpegTs, "h264", 49_000), Some("another rate")),
        (heard(Container::MpegTs, "hevc", 100_000), Some("another format")),
        (heard(Container::Ogg, "h264", 100_000), Some("another format")),
    ] {
        let found = unlike(&BTreeMap::from([(0, first.clone()), (2, other.clone())]));
        match want {
            None => assert!(found.is_empty(), "{found:?}"),
            Some(words) => {
                assert!(found.len() == 1 && found[0].contains(words) && found[0].contains("stream 3"), "{found:?}");
            }
        }
    }
    assert!(unlike(&BTreeMap::new()).is_empty());
}

/// Gives 1000 bytes ten times a second, and takes its time to end.
#[derive(Debug)]
struct Steady;

impl Source for Steady {
    fn name(&self) -> &'static str {
        Recorder::Http.as_str()
    }

    fn open(&self, _: &StreamUrl, _: &str) -> std::result::Result<Running, SourceEnd> {
        let (mut give, take) = tokio::io::duplex(1 << 16);
        let (end, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let _ = give.write_all(&[0xa5; 1000]).await;
                sleep(Duration::from_millis(100)).await;
            }
            sleep(Duration::from_secs(7)).await;
            let _ = end.send(SourceEnd::default());
        });
        let (kill, over) = (CancellationToken::new(), CancellationToken::new());
        Ok(Running { bytes: Box::pin(take), stop, kill, ended, over, process: None })
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_of_the_time_in_which_it_was_listened_to() {
    let dir = tempfile::tempdir().expect("dir");
    let env = Env::real(dir.path().to_owned(), Settings::default());
    let stream = Stream { id: StreamId(1), url: StreamUrl::parse("http://h.example/x").expect("an address") };
    let hall = Hall {
        id: HallId(1),
        event: EventId(1),
        name: "Saal 1".to_owned(),
        slug: "saal-1".to_owned(),
        aliases: Vec::new(),
        streams: vec![stream.clone()],
        recorder: Some(Recorder::Http),
        quality: None,
        max_connections: 2,
        redundancy: None,
    };
    let sources = Sources::of(vec![std::sync::Arc::new(Steady)]);
    let heard = listen(&env, &sources, &hall, &stream).await.expect("heard");
    assert!((9_000..11_000).contains(&heard.bytes_per_second), "{heard:?}");
}
