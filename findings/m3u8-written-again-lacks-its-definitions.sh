#!/bin/sh
# A playlist with EXT-X-DEFINE (RFC 8216bis, version 8): NAME="hall",VALUE="saal1", and segments
# {$hall}/1.ts. A proxy parses and writes it again.
#
# Guess:   the variables are replaced, or the definitions are kept.
# Reality: python's m3u8 and its fork openm3u8 do neither: the definition is lost, {$hall}/1.ts stays. The
#          playlist that comes out is invalid and every segment is a 404. npm's hls-parser keeps the
#          definition but gives the URI as "{$hall}/1.ts" to who downloads; m3u8-parser (video.js) replaces.
# Hurts:   proxies, ad inserters and recorders built on those libraries.
# Versions: m3u8 6.0.0, openm3u8 8.0.0 (PyPI), hls-parser 0.16.1, m3u8-parser 7.2.0 (npm). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install m3u8==6.0.0 openm3u8==8.0.0
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent hls-parser@0.16.1 m3u8-parser@7.2.0
printf '%s\n' '#EXTM3U' '#EXT-X-VERSION:8' '#EXT-X-TARGETDURATION:4' '#EXT-X-DEFINE:NAME="hall",VALUE="saal1"' '#EXTINF:4,' '{$hall}/1.ts' '#EXT-X-ENDLIST' >t.m3u8
cat >t.py <<'E'
import m3u8, openm3u8
for m in (m3u8, openm3u8):
    p = m.loads(open("t.m3u8").read())
    print(f"{m.__name__:11s} uri {p.segments[0].uri}; written again: definition {'kept' if 'EXT-X-DEFINE' in p.dumps() else 'lost'}, {'variable' if '{$hall}' in p.dumps() else 'replaced'}")
E
cat >t.js <<'E'
const t = require('fs').readFileSync('t.m3u8', 'utf8'), H = require('hls-parser'), { Parser } = require('m3u8-parser');
const h = H.parse(t), s = H.stringify(h);
console.log('hls-parser '.padEnd(11), `uri ${h.segments[0].uri}; written again: definition ${s.includes('EXT-X-DEFINE') ? 'kept' : 'lost'}, ${s.includes('{$hall}') ? 'variable' : 'replaced'}`);
const p = new Parser(); p.push(t); p.end(); console.log('m3u8-parser'.padEnd(11), `uri ${p.manifest.segments[0].uri}`);
E
{ v/bin/python t.py; node t.js; } | tee out
cat >want <<'E'
m3u8        uri {$hall}/1.ts; written again: definition lost, variable
openm3u8    uri {$hall}/1.ts; written again: definition lost, variable
hls-parser  uri {$hall}/1.ts; written again: definition kept, variable
m3u8-parser uri saal1/1.ts
E
cmp out want && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
