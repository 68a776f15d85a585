//! Pages of meetings and video sites: what one opens in a browser, and no stream that can be recorded.

/// Hosts (with all below them) whose addresses are pages.
const HOSTS: [&str; 20] = [
    "zoom.us",
    "zoom.com",
    "zoomgov.com",
    "youtube.com",
    "youtu.be",
    "youtube-nocookie.com",
    "teams.microsoft.com",
    "teams.live.com",
    "meet.google.com",
    "hangouts.google.com",
    "webex.com",
    "gotomeeting.com",
    "gotowebinar.com",
    "meet.jit.si",
    "whereby.com",
    "skype.com",
    "discord.gg",
    "discord.com",
    "twitch.tv",
    "vimeo.com",
];

/// True for an address of such a page. A file of media on such a host is none.
#[must_use]
pub fn is_meeting_page(address: &str) -> bool {
    let Ok(url) = url::Url::parse(address.trim()) else { return false };
    let Some(host) = url.host_str().map(str::to_ascii_lowercase) else { return false };
    let path = url.path().to_ascii_lowercase();
    let media = [".m3u8", ".mpd", ".mp4", ".ts", ".webm", ".mp3", ".ogg", ".opus", ".aac", ".flv"];
    let known = HOSTS.iter().any(|known| host == *known || host.ends_with(&format!(".{known}")));
    // BigBlueButton and Jitsi run on anybody's host, under these paths.
    let room = path.starts_with("/b/") && host.starts_with("bbb") || path.contains("/bigbluebutton/");
    matches!(url.scheme(), "http" | "https") && (known || room) && !media.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_no_streams() {
        for page in [
            "https://us02web.zoom.us/j/123?pwd=x",
            "https://www.youtube.com/watch?v=x",
            "https://youtu.be/x",
            "https://meet.google.com/abc-defg-hij",
            "https://bbb.example.org/b/abc-def",
        ] {
            assert!(is_meeting_page(page), "{page}");
        }
        for stream in [
            "https://cdn.example.org/hls/s1/native_hd.m3u8",
            "rtmp://a.rtmp.youtube.com/live2",
            "https://notzoom.us.example.org/x",
            "https://live.vimeo.com/x/playlist.m3u8",
            "http://h/zoom.us",
            "no address",
        ] {
            assert!(!is_meeting_page(stream), "{stream}");
        }
    }
}
