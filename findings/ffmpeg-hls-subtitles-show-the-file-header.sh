#!/bin/sh
# ffmpeg reads an HLS subtitle playlist: two WebVTT segments of 10 s, each with the X-TIMESTAMP-MAP of
# RFC 8216 (3.5): "one" at 1 s, "eleven" at 11 s.
#
# Guess:   two cues, at 1 s and 11 s (or, without support for the map, an error).
# Reality: the segments are glued as text. Both cues are at 1 s, and the header of the second segment
#          ("WEBVTT", "X-TIMESTAMP-MAP=...") is shown to the viewer as words of the first. Exit code 0.
#          yt-dlp, from the same playlist, gives 1 s and 11 s.
# Hurts:   recordings of talks with live captions: from the second segment on all captions are at the
#          wrong time, with protocol text between them.
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (PyPI imageio-ffmpeg 0.8.1). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
printf 'WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n00:00:01.000 --> 00:00:03.000\none\n' >a.vtt
printf 'WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:1800000,LOCAL:00:00:00.000\n\n00:00:01.000 --> 00:00:03.000\neleven\n' >b.vtt
printf '#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\na.vtt\n#EXTINF:10,\nb.vtt\n#EXT-X-ENDLIST\n' >s.m3u8
rc=0
for f in ffmpeg "$N"; do
  $f -version | head -n 1
  $f -v error -y -i s.m3u8 -c copy -f webvtt out.vtt || rc=1
  sed 's/^/    /' out.vtt
  [ "$(grep -c -e '-->' out.vtt)" = 2 ] && [ "$(grep -c '^00:01.000 -->' out.vtt)" = 2 ] && [ "$(sed 1d out.vtt | grep -c X-TIMESTAMP-MAP)" = 1 ] || rc=1
done
[ $rc = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
