#!/bin/sh
# ffmpeg writes HLS with fragmented MP4, is restarted with -hls_flags append_list, and the picture size
# has changed meanwhile (the camera was exchanged).
#
# Guess:   append_list appends: the playlist gets a discontinuity and a second EXT-X-MAP; the old segments
#          play as before.
# Reality: the new run writes its initialisation over the old init.mp4 and the playlist keeps one EXT-X-MAP
#          for all. The segments of before the restart, untouched on disk, can no longer be decoded
#          properly by anyone: the header with their parameter sets is gone. Exit code 0, no warning.
# Hurts:   who records into fMP4 HLS with restarts. A copy of init.mp4 for each run
#          (-hls_fmp4_init_filename with a name of its own) saves the bytes, but not the playlist.
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (PyPI imageio-ffmpeg 0.8.1). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
rc=0
for f in ffmpeg "$N"; do
  rm -f ./*.m4s ./*.mp4 ./*.m3u8; $f -version | head -n 1
  run() { $f -v warning -f lavfi -i "testsrc=s=$1:r=10:d=4" -c:v libx264 -preset ultrafast -g 10 -f hls -hls_time 2 -hls_list_size 0 \
            -hls_segment_type fmp4 -hls_flags append_list x.m3u8 2>&1; }
  errors() { cat init.mp4 "$1" | ffmpeg -v error -i - -f null - 2>&1 | grep -c . || true; }
  run 160x128 >/dev/null; before=$(errors x0.m4s); old=$(cksum <init.mp4); seg=$(cksum <x0.m4s)
  run 96x64 >warn; after=$(errors x0.m4s); new=$(cksum <init.mp4)
  maps=$(grep -c EXT-X-MAP x.m3u8); segs=$(grep -c m4s x.m3u8)
  echo "segments in the playlist: $segs, EXT-X-MAP: $maps; x0.m4s unchanged: $([ "$seg" = "$(cksum <x0.m4s)" ] && echo yes); init.mp4 changed: $([ "$old" != "$new" ] && echo yes)"
  echo "decoder's complaints about x0.m4s before the restart: $before, after: $after; warnings of the second run: $(grep -c . warn || true)"
  [ "$maps" = 1 ] && [ "$segs" = 4 ] && [ "$old" != "$new" ] && [ "$before" = 0 ] && [ "$after" -gt 0 ] || rc=1
done
[ $rc = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
