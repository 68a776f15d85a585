#!/bin/sh
# ffmpeg packages a live stream (a pipe at the pace of real time) as HLS with EXT-X-PROGRAM-DATE-TIME.
#
# Guess:   the date of a segment says when it came in, or a little later.
# Reality: the clock is read once, when the muxer opens, and given to the FIRST packet. Before that the
#          input was probed: up to 5 s of media (analyzeduration) wait. So every date is late by the time
#          spent probing, and the newest segment is dated seconds into the future: its file was complete
#          before the moment at which, by its date, it begins. A later stall of the input is not seen
#          either: dates go on as start + sum of EXTINF.
# Hurts:   who cuts talks by PROGRAM-DATE-TIME, or joins two recorders by it: both are off by a different
#          amount, according to bit rate and probing.
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (PyPI imageio-ffmpeg 0.8.1). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=10:d=9 -f lavfi -i sine=d=9:r=48000 -c:v mpeg2video -g 10 -b:v 60k -c:a mp2 -b:a 48k in.ts
cat >pace.py <<'E'
import sys, time
data = open("in.ts", "rb").read(); start = time.monotonic(); n = 0
while n < len(data):
    if n > (time.monotonic() - start) * len(data) / 9: time.sleep(0.02); continue
    sys.stdout.buffer.write(data[n:n + 188]); sys.stdout.buffer.flush(); n += 188
E
rc=0
for f in ffmpeg "$N"; do
  rm -f x*; $f -version | head -n 1
  python3 pace.py | $f -v error -i - -c copy -f hls -hls_time 1 -hls_list_size 0 -hls_flags program_date_time x.m3u8
  python3 - <<'E' || rc=1
import datetime as d, os
dates = [d.datetime.strptime(l[25:].strip(), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() for l in open("x.m3u8") if l.startswith("#EXT-X-PROGRAM")]
files = [l.strip() for l in open("x.m3u8") if l.strip().endswith(".ts")]
last = len(files) - 1
ahead = dates[last] - os.stat(files[last]).st_mtime
print(f"{len(files)} segments; the last one is dated {ahead:+.1f} s from the moment at which it was complete on disk")
raise SystemExit(not ahead > 1)
E
done
[ $rc = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
