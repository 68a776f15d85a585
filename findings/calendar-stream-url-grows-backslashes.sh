#!/bin/sh
# A schedule is generated with the address of a hall's stream, http://h.example/saal1_,500,900,.mp4;v=2 (commas
# and semicolons are legal in a URI, and usual in the names of multi-rate streams).
#
# Guess:   a URL property is of type URI, which knows no escapes (RFC 5545, 3.3.13): it is written as it is.
# Reality: npm's ical-generator writes it with backslashes before commas and semicolons although it states
#          VALUE=URI. ical.js, which reads a URI as it stands, hands out an address with backslashes in it;
#          icalendar and node-ical unescape it. The same happens between icalendar and ical.js with a
#          property of one's own (X-STREAM-URL): written as TEXT, read as it stands.
# Hurts:   recorders that are given their streams by a calendar: 404 for the streams with commas only.
# Versions: ical-generator 10.2.0, ical.js 2.2.1, node-ical 0.26.1 (npm), icalendar 7.1.2 (PyPI). Seen 2026-12-01.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent ical-generator@10.2.0 ical.js@2.2.1 node-ical@0.26.1
cat >w.js <<'E'
const G = require('ical-generator'), make = G.default || G.ical, fs = require('fs');
const c = make({ name: 't' });
c.createEvent({ start: new Date('2026-12-27T09:00:00Z'), end: new Date('2026-12-27T10:00:00Z'), summary: 'a', url: 'http://h.example/saal1_,500,900,.mp4;v=2' });
fs.writeFileSync('g.ics', c.toString()); console.log(c.toString().split('\r\n').find(l => l.startsWith('URL')));
E
node w.js
cat >r.py <<'E'
import icalendar, datetime as d
print("icalendar ", icalendar.Calendar.from_ical(open("g.ics", newline="").read()).walk("VEVENT")[0]["URL"])
e = icalendar.Event(); e.add("uid", "a"); e.add("dtstart", d.datetime(2026, 12, 27, 9, tzinfo=d.timezone.utc)); e.add("x-stream-url", "http://h.example/saal1_,500,900,.mp4;v=2")
c = icalendar.Calendar(); c.add("version", "2.0"); c.add_component(e)
open("x.ics", "wb").write(c.to_ical())
print("icalendar's own X- property, read again:", icalendar.Calendar.from_ical(c.to_ical()).walk("VEVENT")[0]["X-STREAM-URL"])
E
cat >r.js <<'E'
const fs = require('fs'), t = fs.readFileSync('g.ics', 'utf8'), ICAL = require('ical.js').default || require('ical.js');
const ev = f => new ICAL.Component(ICAL.parse(fs.readFileSync(f, 'utf8'))).getFirstSubcomponent('vevent');
console.log('ical.js   ', ev('g.ics').getFirstPropertyValue('url'));
const u = Object.values(require('node-ical').sync.parseICS(t)).find(c => c.type === 'VEVENT').url;
console.log('node-ical ', u.val || u);
console.log("icalendar's X- property, read by ical.js:", ev('x.ics').getFirstPropertyValue('x-stream-url'));
E
{ v/bin/python r.py; node r.js; } | tee out
n=$(grep -E '^(icalendar |ical.js |node-ical )' out | grep -c '\\,500\\,900')
echo "readers that hand out backslashes: $n of 3"
[ "$n" = 1 ] && grep -q '^ical.js .*\\,500' out && grep -q 'read by ical.js.*\\,500' out && grep -q 'read again: http://h.example/saal1_,500' out && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
