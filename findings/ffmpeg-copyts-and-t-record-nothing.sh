#!/bin/sh
# A stream has been on the air for a while: its clock stands at 100 s. A recorder keeps that clock (-copyts)
# and asks for 5 s (-t 5).
#
# Guess:   5 s are recorded; -t is a length, -to a position (so the manual).
# Reality: with -copyts, -t is compared with the time stamps themselves: 100 s is past 5 s, and the output
#          is empty, with exit code 0 and nothing on standard error at -v error. Adding -ss 105 does not
#          help; -start_at_zero does. A test with a file that begins at 0 sees nothing of it.
# Hurts:   recorders that keep the source's clock so that two recordings can be joined, with -t as limit.
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (PyPI imageio-ffmpeg 0.8.1). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=10:d=20 -c:v mpeg2video -g 10 -output_ts_offset 100 in.ts
echo "input: $(ffprobe -v error -show_entries format=start_time,duration -of default=nw=1 in.ts | tr '\n' ' ')"
rc=0
for f in ffmpeg "$N"; do
  $f -version | head -n 1
  n() { if "$f" -v error -y "$@" out.ts 2>err; then printf 'exit 0 '; else printf 'exit %s ' $?; fi
        ffmpeg -v error -i out.ts -f framemd5 - 2>/dev/null | grep -vc '^#' || true; }
  plain=$(n -i in.ts -t 5 -c copy); keep=$(n -copyts -i in.ts -t 5 -c copy); said=$(grep -c . err || true)
  ss=$(n -copyts -ss 105 -i in.ts -t 5 -c copy); zero=$(n -copyts -start_at_zero -i in.ts -t 5 -c copy)
  echo "frames for -t 5: plain $plain; -copyts $keep (lines on stderr: $said); -copyts -ss 105 $ss; -copyts -start_at_zero $zero"
  [ "$keep" = "exit 0 0" ] && [ "$ss" = "exit 0 0" ] && [ "$said" = 0 ] && [ "${plain#exit 0 }" -ge 45 ] && [ "${zero#exit 0 }" -ge 45 ] || rc=1
done
[ $rc = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
