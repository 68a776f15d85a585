#!/bin/sh
# A playlist marks one of ten segments with EXT-X-GAP (RFC 8216bis 4.4.4.7): it is missing or a filler, and
# clients should not try to load it. The server has a filler of the same length under its name.
#
# Guess:   at least the newer clients leave it out, or leave a hole.
# Reality: ffmpeg (5.1 and 9.0), streamlink and yt-dlp (its own downloader) all fetch it and put it into the
#          recording: no hole, no message, exit code 0.
# Hurts:   recordings: the place where the packager said "here is nothing" looks recorded.
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (imageio-ffmpeg 0.8.1), streamlink 8.6.3, yt-dlp 2026.10.26 (PyPI).
#          Seen 2026-11-30.
set -eu
T=$(mktemp -d); cd "$T"; K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1 streamlink==8.6.3 yt-dlp==2026.10.26
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
mkdir w; ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=10:d=10 -c:v mpeg2video -g 10 -f hls -hls_time 1 -hls_list_size 0 w/x.m3u8
sed -i 's/VERSION:3/VERSION:8/; s/^x4.ts/#EXT-X-GAP\nx4.ts/' w/x.m3u8
cat >s.py <<'E'
import http.server
class H(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *a): super().__init__(*a, directory="w")
    def log_message(self, *a): open("log", "a").write(self.path + "\n")
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
open("port", "w").write(str(s.server_port)); s.serve_forever()
E
python3 s.py & K=$!
while [ ! -s port ]; do sleep 0.2; done
U="http://127.0.0.1:$(cat port)/x.m3u8"; rc=0
run() {
  n=$1; shift; : >log; if "$@" >/dev/null 2>err; then e=0; else e=$?; fi
  asked=$(grep -c x4.ts log || true); frames=$(ffprobe -v error -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$n.ts" | head -n 1 | tr -d ,)
  echo "$n: requests for the gap $asked, exit $e, frames $frames of 100 (90 without the gap)"
  [ "$asked" -ge 1 ] && [ $e = 0 ] && [ "$frames" = 100 ] || rc=1
}
run ffmpeg-5.1 ffmpeg -v error -i "$U" -c copy ffmpeg-5.1.ts
run ffmpeg-9.0 "$N" -v error -i "$U" -c copy ffmpeg-9.0.ts
run streamlink v/bin/streamlink --no-config -l error -o streamlink.ts -f "hls://$U" best
run yt-dlp v/bin/yt-dlp --no-config -q --downloader native --fixup never --no-part -o yt-dlp.ts "$U"
[ $rc = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
