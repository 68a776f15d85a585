#!/bin/sh
# Opus in WebM, copied packet by packet into Matroska with its clock kept (-copyts -avoid_negative_ts disabled).
#
# Guess:   a stream copy keeps block times and CodecDelay: the copy plays as the original does.
# Reality: the demuxer takes CodecDelay (6.5 ms) off the times, the muxer writes the times as they are now and
#          CodecDelay once more. A player takes it off a second time: the sound is 6.5 ms early against the
#          picture, and each further copy adds as much.
# Hurts:   recorders that keep the source's clock and join several copies: a shift that grows with each pass.
# Versions: ffmpeg 5.1.9, mkvtoolnix 74.0.0 (Debian 12). Seen 2026-12-01.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
command -v ffmpeg >/dev/null && command -v mkvinfo >/dev/null || apt-get install -y --no-install-recommends ffmpeg mkvtoolnix >/dev/null
dpkg-query -W ffmpeg mkvtoolnix
ffmpeg -v error -f lavfi -i testsrc=s=64x48:d=2 -f lavfi -i sine=d=2 -c:v libvpx -deadline realtime -c:a libopus 0.webm
i=0; for n in 1 2 3; do
  ffmpeg -v error -copyts -i "$(ls $i.*)" -map 0 -c copy -avoid_negative_ts disabled $n.mkv; i=$n
done
for f in 0.webm 1.mkv 2.mkv 3.mkv; do
  first=$(ffprobe -v error -select_streams a -show_entries packet=pts_time -of csv=p=0 $f | head -n 1 | tr -d ,)
  delay=$(mkvinfo $f | grep -i 'codec-inherent delay\|codec delay' | head -n 1 | sed 's/.*: //')
  echo "$f: first sound at $first s, CodecDelay in the file: $delay"
  echo "$first" >>times
done
python3 -c '
t = [float(l) for l in open("times")]; steps = [round(b - a, 4) for a, b in zip(t, t[1:])]
print("each copy moves the sound by", steps)
ok = all(-0.009 < s < -0.005 for s in steps); print("SEEN" if ok else "NO LONGER SEEN"); raise SystemExit(not ok)'
