#!/bin/sh
# A recording of an Ogg stream in which the title changed once: two chained links of 10 s (RFC 3533,
# every Icecast server sends this), 20 s of sound. Vorbis and Opus.
#
# Guess:   tools read 20 s, or say that they read only a part.
# Reality: mkvmerge takes the first 10 s and reports success, without a warning: a remux "to be safe"
#          halves the talk. Nor does a look at durations find it: ffprobe, MediaInfo and mutagen state
#          10 s or less for the original too, although ffmpeg then decodes all 20.
# Hurts:   who archives web radio or a conference's Opus stream: the file that mkvmerge made is complete
#          by every check of exit codes and durations, and the rest of the talk is gone once the
#          original is deleted.
# Versions: mkvtoolnix 74.0.0, ffmpeg 5.1.9, mediainfo 23.04 (Debian 12);
#          mutagen 1.48.1 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
command -v mkvmerge >/dev/null && command -v mediainfo >/dev/null && command -v ffmpeg >/dev/null ||
  apt-get install -y --no-install-recommends ffmpeg mkvtoolnix mediainfo >/dev/null
dpkg-query -W mkvtoolnix ffmpeg mediainfo
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install mutagen==1.48.1
rc=0
for c in ogg:libvorbis:48000 opus:libopus:48000; do
  e=${c%%:*}; l=${c#*:}; l=${l%%:*}
  for i in 1 2; do ffmpeg -v error -f lavfi -i "sine=f=${i}00:d=10:r=48000" -c:a "$l" -metadata title="talk $i" -y "$i.$e"; done
  cat "1.$e" "2.$e" >"chain.$e"
  sec() { ffmpeg -v error -i "$1" -f s16le -ac 1 -ar 8000 - 2>/dev/null | wc -c | awk '{printf "%d", $1/16000 + .5}'; }
  whole=$(sec "chain.$e")
  mkvmerge -o m.mka "chain.$e" >m.log; mrc=$?; mk=$(sec m.mka); warn=$(grep -ci warning m.log || true)
  ff=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "chain.$e" | awk '{printf "%d", $1 + .5}')
  mi=$(mediainfo --Output='General;%Duration%' "chain.$e" | awk '{printf "%d", $1/1000 + .5}')
  mu=$(v/bin/python -c "import mutagen, sys; print(round(mutagen.File(sys.argv[1]).info.length))" "chain.$e")
  echo "$e: ffmpeg decodes $whole s; mkvmerge keeps $mk s (exit $mrc, $warn warnings); stated by ffprobe $ff, mediainfo $mi, mutagen $mu s"
  [ "$whole $mk $mrc $warn $mi $mu" = "20 10 0 0 10 10" ] && [ "$ff" -le 10 ] || rc=1
done
[ $rc = 0 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
