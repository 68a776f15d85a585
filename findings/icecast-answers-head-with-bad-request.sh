#!/bin/sh
# A monitor asks Icecast by HEAD whether a hall's stream is up.
#
# Guess:   200 while the source is connected, 404 otherwise (or 405 if HEAD is not done).
# Reality: 400 Bad Request for both, the running mount and one that never existed; and a request for a
#          range of a running mount ("bytes=0-99", what some players try first) is answered 200 and the
#          endless stream. Only a GET that is broken off tells the truth.
# Hurts:   uptime checks and link checkers: they report every stream of the conference as broken.
# Versions: icecast2 2.4.4 (Debian 12). Seen 2026-11-30.
set -eu
T=$(mktemp -d); chmod 755 "$T"; cd "$T"
K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
command -v icecast2 >/dev/null && command -v ffmpeg >/dev/null && command -v curl >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends icecast2 ffmpeg curl >/dev/null
dpkg-query -W icecast2
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir log; chmod 777 log
cat >i.xml <<E
<icecast><limits><sources>4</sources></limits>
<authentication><source-password>s</source-password><relay-password>s</relay-password><admin-user>admin</admin-user><admin-password>a</admin-password></authentication>
<hostname>localhost</hostname><listen-socket><port>$PORT</port><bind-address>127.0.0.1</bind-address></listen-socket>
<paths><basedir>$T</basedir><logdir>$T/log</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>a.log</accesslog><errorlog>e.log</errorlog><loglevel>3</loglevel></logging>
<security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>
E
ffmpeg -v error -f lavfi -i sine=d=12:r=44100 -b:a 64k t.ogg
icecast2 -c i.xml >/dev/null 2>&1 & K="$!"
sleep 1
ffmpeg -v quiet -re -i t.ogg -c copy -content_type application/ogg -f ogg "icecast://source:s@127.0.0.1:$PORT/hall.ogg" & K="$K $!"
sleep 3
ask() { curl -s --max-time 2 -o body -w '%{http_code}' "$@" || true; }
U="http://127.0.0.1:$PORT"
got="GET hall $(ask "$U/hall.ogg"), GET none $(ask "$U/none.ogg"), HEAD hall $(ask -I "$U/hall.ogg"), HEAD none $(ask -I "$U/none.ogg"), range hall $(ask -r 0-99 "$U/hall.ogg")"
bytes=$(wc -c <body)
echo "$got ($bytes bytes for 100 asked)"
[ "$got" = "GET hall 200, GET none 404, HEAD hall 400, HEAD none 400, range hall 200" ] && [ "$bytes" -gt 1000 ] && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
