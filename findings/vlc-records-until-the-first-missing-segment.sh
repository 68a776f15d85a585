#!/bin/sh
# HLS of ten segments of 1 s, complete (ENDLIST); the fifth is a 404. ffmpeg, streamlink and yt-dlp leave a hole and
# take the other nine.
#
# Guess:   VLC does the same, or ends with an error.
# Reality: VLC (recording with --sout) ends there for good: the first four segments, exit code 0, as if the
#          stream had been that long. Five good segments are not even asked for.
# Hurts:   recordings by a VLC that runs unattended: one lost segment costs the rest of the talk.
# Versions: vlc 3.0.24, ffmpeg 5.1.9 (Debian 12). Seen 2026-12-01.
set -eu
T=$(mktemp -d); chmod 777 "$T"; cd "$T"; K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
command -v cvlc >/dev/null && command -v ffmpeg >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends vlc-bin vlc-plugin-base ffmpeg >/dev/null
dpkg-query -W vlc-bin ffmpeg
mkdir w; ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=25:d=10 -c:v libx264 -preset ultrafast -g 25 -f hls -hls_time 1 -hls_list_size 0 w/x.m3u8
rm w/x4.ts
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
U="http://127.0.0.1:$(cat port)/x.m3u8"
count() { ffprobe -v quiet -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$1" | head -n 1 | tr -d ,; }
: >log; ffmpeg -v quiet -i "$U" -c copy f.ts && fe=0 || fe=$?; f=$(count f.ts); fa=$(grep -c 'x[5-9].ts' log || true)
# VLC refuses to run as root
as=; [ "$(id -u)" = 0 ] && as="setpriv --reuid=65534 --clear-groups env HOME=$T"
: >log; timeout 60 $as cvlc -q --no-color "$U" --sout "#std{access=file,mux=ts,dst=$T/v.ts}" vlc://quit >/dev/null 2>&1 && ve=0 || ve=$?; v=$(count v.ts); va=$(grep -o 'x[5-9].ts' log | sort -u | grep -c . || true)
echo "ffmpeg: exit $fe, $f frames of 250, segments asked for after the hole: $fa"
echo "vlc:    exit $ve, $v frames of 250, segments asked for after the hole: $va"
[ "$f" = 225 ] && [ "$ve" = 0 ] && [ "$v" -le 100 ] && [ "$va" = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
