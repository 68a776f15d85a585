#!/bin/sh
# DASH: <S t="0" d="2000" r="-1"/>, "segments of 2 s until the Period ends" (ISO 23009-1, 5.3.9.6). Two Periods
# of 8 s: four segments each.
#
# Guess:   four and four.
# Reality: streamlink finds no segment at all, only the initialisation. yt-dlp finds one per Period. mpd-parser
#          (video.js) takes the length of the whole presentation for each Period: eight and eight, of which
#          half do not exist and lie on top of the next Period.
# Hurts:   recordings of 0 s and 2 s out of 16 that come without an error; players that ask for what is not there.
# Versions: streamlink 8.6.3, yt-dlp 2026.10.26 (PyPI), mpd-parser 1.4.0 (npm). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install streamlink==8.6.3 yt-dlp==2026.10.26
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent mpd-parser@1.4.0
period() { printf '<Period id="%s" start="PT%sS" duration="PT8S"><AdaptationSet mimeType="video/mp4" contentType="video"><SegmentTemplate timescale="1000" media="%s-$Number$.m4s" initialization="%s-i.mp4" startNumber="1"><SegmentTimeline><S t="0" d="2000" r="-1"/></SegmentTimeline></SegmentTemplate><Representation id="v" bandwidth="100000" codecs="avc1.42c00a" width="64" height="48"/></AdaptationSet></Period>' "$1" "$2" "$1" "$1"; }
{ echo '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT16S" minBufferTime="PT2S" profiles="urn:mpeg:dash:profile:isoff-live:2011">'
  period a 0; period b 8; echo '</MPD>'; } >x.mpd
cat >t.py <<'E'
import xml.etree.ElementTree as ET
text = open("x.mpd").read(); url = "http://127.0.0.1:9/"
from streamlink.stream.dash.manifest import MPD
from streamlink.utils.parse import parse_xml
m = MPD(parse_xml(text, ignore_ns=True), base_url=url, url=url + "x.mpd")
print("streamlink", *[sum(".m4s" in s.uri for s in r.segments()) for p in m.periods for a in p.adaptationSets for r in a.representations])
import yt_dlp
from yt_dlp.extractor.common import InfoExtractor
ie = InfoExtractor(yt_dlp.YoutubeDL({"quiet": True}))
f, _ = ie._parse_mpd_formats_and_subtitles(ET.fromstring(text), mpd_base_url=url, mpd_url=url + "x.mpd")
names = [x.get("path") or x["url"] for x in f[0]["fragments"]]
print("yt-dlp", *[sum(n.split("/")[-1].startswith(p) and ".m4s" in n for n in names) for p in "ab"])
E
cat >t.js <<'E'
const r = require('mpd-parser').parse(require('fs').readFileSync('x.mpd', 'utf8'), { manifestUri: 'http://127.0.0.1:9/x.mpd' });
const all = r.playlists.flatMap(p => p.segments.map(s => s.uri));
console.log('mpd-parser', ...['a', 'b'].map(p => all.filter(u => u.startsWith(p)).length));
E
echo "segments of the two periods (right: 4 4)"
{ v/bin/python t.py; node t.js; } | tee out
printf 'streamlink 0 0\nyt-dlp 1 1\nmpd-parser 8 8\n' | cmp - out && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
