#!/bin/sh
# Icecast: a hall's MP3 mount has a fallback mount that plays a slate, in AAC. The hall's source stops.
#
# Guess:   a fallback of another codec is refused (as it is between Ogg and MP3), or the listener is cut.
# Reality: MP3 and AAC are one class ("generic") to Icecast. The listener is moved in the middle of the
#          answer: the response says Content-Type: audio/mpeg, its first part is MP3, the rest is AAC, on
#          one connection without any sign. ffprobe sees one stream in the dump (whichever codec it
#          believes more), and states a duration that is neither's.
# Hurts:   recorders: no reconnect, no error, bytes flow, and what flows is the slate in a codec that the
#          file's header denies.
# Versions: icecast2 2.4.4 (Debian 12), ffmpeg 5.1.9. Seen 2026-11-30.
set -eu
T=$(mktemp -d); chmod 755 "$T"; cd "$T"
K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
command -v icecast2 >/dev/null && command -v ffmpeg >/dev/null && command -v curl >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends icecast2 ffmpeg curl >/dev/null
dpkg-query -W icecast2 ffmpeg
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir log; chmod 777 log
cat >i.xml <<E
<icecast><limits><sources>4</sources><burst-size>0</burst-size></limits>
<authentication><source-password>s</source-password><relay-password>s</relay-password><admin-user>admin</admin-user><admin-password>a</admin-password></authentication>
<hostname>localhost</hostname><listen-socket><port>$PORT</port><bind-address>127.0.0.1</bind-address></listen-socket>
<mount><mount-name>/hall.mp3</mount-name><fallback-mount>/slate.aac</fallback-mount></mount>
<paths><basedir>$T</basedir><logdir>$T/log</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>a.log</accesslog><errorlog>e.log</errorlog><loglevel>3</loglevel></logging>
<security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>
E
ffmpeg -v error -f lavfi -i sine=f=300:d=6:r=44100 -b:a 64k hall.mp3
ffmpeg -v error -f lavfi -i sine=f=900:d=12:r=44100 -b:a 64k slate.aac
icecast2 -c i.xml >/dev/null 2>&1 & K="$!"
sleep 1
ffmpeg -v quiet -re -i slate.aac -c copy -content_type audio/aac -f adts "icecast://source:s@127.0.0.1:$PORT/slate.aac" & K="$K $!"
ffmpeg -v quiet -re -i hall.mp3 -c copy -content_type audio/mpeg -f mp3 "icecast://source:s@127.0.0.1:$PORT/hall.mp3" & K="$K $!"
sleep 2
curl -s --max-time 8 -D head -o got "http://127.0.0.1:$PORT/hall.mp3" || true
grep -i '^content-type' head
grep -o 'passing .* listeners to .*' log/e.log
stated=$(ffprobe -v quiet -show_entries stream=codec_name -of default=nk=1:nw=1 got)
python3 - "$stated" <<'E'
import re, sys
b = open("got", "rb").read()
aac = [m.start() for m in re.finditer(rb"\xff\xf1[\x50\x4c]", b)]
mp3 = [m.start() for m in re.finditer(rb"\xff\xfb[\x50-\x5f]", b)]
cut = aac[0] if aac else 0
print(f"bytes {len(b)}: up to {cut} MP3 ({sum(m < cut for m in mp3)} frames), from there AAC ({len(aac)} frames); streams for ffprobe: {sys.argv[1].split()}")
ok = len(aac) > 20 and sum(m < cut for m in mp3) > 50 and len(sys.argv[1].split()) == 1
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
