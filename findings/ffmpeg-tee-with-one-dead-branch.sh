#!/bin/sh
# A recorder writes to two disks at once with ffmpeg's tee muxer, without options. One disk is not mounted.
#
# Guess:   the manual: onfail is "abort" by default, so nothing is recorded and the exit code says so.
# Reality: that is what 9.0 does: exit code 254, the good disk has an empty file at best. 5.1 goes on with
#          the branch that works and ends with exit code 0. So the same command line records the talk on one
#          and loses it on the other; and on 5.1 a script cannot learn from the exit code that one of two
#          copies was never written.
# Hurts:   who upgrades; who thought he had two copies. "onfail=" on each branch settles it on both.
# Versions: ffmpeg 5.1.9 (Debian 12), 9.0.2 (PyPI imageio-ffmpeg 0.8.1). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install imageio-ffmpeg==0.8.1
command -v ffmpeg >/dev/null || apt-get install -y --no-install-recommends ffmpeg >/dev/null
N=$(v/bin/python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=10:d=10 -c:v mpeg2video -g 10 in.ts
try() { rm -f good.ts; if "$1" -v quiet -i in.ts -c copy -map 0 -f tee "$2"; then e=0; else e=$?; fi
        echo "exit $e, good disk $( [ -s good.ts ] && ffprobe -v error -show_entries format=duration -of csv=p=0 good.ts | cut -d. -f1 || echo 0) s"; }
old=$(try ffmpeg 'good.ts|missing/bad.ts'); new=$(try "$N" 'good.ts|missing/bad.ts')
fix='[onfail=ignore]good.ts|[onfail=ignore]missing/bad.ts'
ffmpeg -version | head -n 1; echo "  no option: $old; onfail=ignore: $(try ffmpeg "$fix")"
$N -version | head -n 1; echo "  no option: $new; onfail=ignore: $(try "$N" "$fix")"
case "$old/$new" in "exit 0, good disk 10 s/exit "[1-9]*", good disk 0 s") echo SEEN;; *) echo "NO LONGER SEEN"; exit 1;; esac
