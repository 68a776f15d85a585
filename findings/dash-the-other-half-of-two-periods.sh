#!/bin/sh
# DASH, static, of two Periods of 8 s: the first talk's half, and what came after the packager's restart (or an
# advertisement's end). 16 s, 400 frames, one video Representation, nothing exotic.
#
# Guess:   a client downloads both Periods, or says that it does not.
# Reality: ffmpeg (5.1 and 9.0) takes the LAST Period only, streamlink the FIRST only: 200 frames, exit code 0,
#          no warning. Two recorders of the same stream hold different halves and each thinks its own whole.
#          yt-dlp takes both.
# Hurts:   who archives DASH with ffmpeg or streamlink (streamlink can be asked for another period, if one knows).
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (imageio-ffmpeg 0.8.1), streamlink 8.6.3, yt-dlp 2026.10.26 (PyPI).
#          Seen 2026-11-30.
set -eu
T=$(mktemp -d); cd "$T"; K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1 streamlink==8.6.3 yt-dlp==2026.10.26
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
mkdir w
for p in a b; do
  ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=25:d=8 -c:v libx264 -preset ultrafast -g 25 -f dash -seg_duration 2 -use_template 1 \
    -use_timeline 0 -init_seg_name "$p-i.mp4" -media_seg_name "$p-\$Number\$.m4s" "w/$p.mpd"
done
period() { printf '<Period id="%s" start="PT%sS" duration="PT8S"><AdaptationSet mimeType="video/mp4" contentType="video"><SegmentTemplate timescale="1000" duration="2000" media="%s-$Number$.m4s" initialization="%s-i.mp4" startNumber="1"/><Representation id="v" bandwidth="100000" codecs="avc1.42c00a" width="64" height="48"/></AdaptationSet></Period>' "$1" "$2" "$1" "$1"; }
{ echo '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT16S" minBufferTime="PT2S" profiles="urn:mpeg:dash:profile:isoff-live:2011">'
  period a 0; period b 8; echo '</MPD>'; } >w/x.mpd
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
U="http://127.0.0.1:$(cat port)/x.mpd"; : >result
run() {
  n=$1; shift; : >log; if "$@" >out 2>&1; then e=0; else e=$?; fi
  frames=$(ffprobe -v quiet -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$n".m* | head -n 1 | tr -d ,)
  echo "$n: exit $e, segments of the first period $(grep -o 'a-[0-9]' log | sort -u | grep -c . || true), of the second $(grep -o 'b-[0-9]' log | sort -u | grep -c . || true), frames $frames of 400" | tee -a result
}
run ffmpeg-5.1 ffmpeg -v warning -i "$U" -c copy ffmpeg-5.1.mkv
run ffmpeg-9.0 "$N" -v warning -i "$U" -c copy ffmpeg-9.0.mkv
run streamlink v/bin/streamlink --no-config -l warning -o streamlink.mp4 -f "dash://$U" best
run yt-dlp v/bin/yt-dlp --no-config -q -o yt-dlp.mp4 "$U"
cat >want <<'E'
ffmpeg-5.1: exit 0, segments of the first period 0, of the second 4, frames 200 of 400
ffmpeg-9.0: exit 0, segments of the first period 0, of the second 4, frames 200 of 400
streamlink: exit 0, segments of the first period 4, of the second 0, frames 200 of 400
yt-dlp: exit 0, segments of the first period 4, of the second 4, frames 400 of 400
E
sed 's/second 5/second 4/' result | cmp - want && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
