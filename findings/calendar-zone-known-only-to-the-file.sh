#!/bin/sh
# A schedule brings its own VTIMEZONE ("hall", always +05:30) and its talk begins 10:00 there: 04:30Z.
#
# Guess:   a VTIMEZONE in the file is what TZID refers to (RFC 5545, 3.2.19); a reader that does not
#          support that refuses.
# Reality: icalendar, icalevents, vobject and ical.js read 04:30Z. ical, ics and calcurse silently take
#          10:00 as UTC; node-ical and ical-expander silently take it as the zone of the machine that
#          reads (15:00Z where TZ is New York, another time on a server in UTC).
# Hurts:   5 h 30 min too late, on one machine; another time on the next one. Zone names of the file's own
#          are common (Outlook, "/example.org/..." of Evolution and Lightning).
# Versions: icalendar 7.1.2, icalevents 0.3.1, vobject 0.9.9, ical 14.3.1, ics 0.7.3 (PyPI); ical.js 2.2.1,
#          node-ical 0.26.1, ical-expander 3.2.0 (npm); calcurse 4.7.1 (Debian 12). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"; export TZ=America/New_York HOME="$T"
command -v calcurse >/dev/null || apt-get install -y --no-install-recommends calcurse >/dev/null
calcurse --version | head -n 1
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 ical==14.3.1 icalevents==0.3.1 ics==0.7.3 vobject==0.9.9
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent ical.js@2.2.1 ical-expander@3.2.0 node-ical@0.26.1
printf '%s\r\n' BEGIN:VCALENDAR VERSION:2.0 PRODID:-//finding//EN BEGIN:VTIMEZONE TZID:hall BEGIN:STANDARD DTSTART:19700101T000000 \
  TZOFFSETFROM:+0530 TZOFFSETTO:+0530 END:STANDARD END:VTIMEZONE BEGIN:VEVENT UID:a DTSTAMP:20260101T000000Z SUMMARY:x \
  'DTSTART;TZID=hall:20261201T100000' DURATION:PT1H END:VEVENT END:VCALENDAR >t.ics
cat >t.py <<'E'
import datetime as d, warnings
warnings.simplefilter("ignore")
U = d.timezone.utc
a, b = d.datetime(2026, 11, 1, tzinfo=U), d.datetime(2026, 12, 31, tzinfo=U)
text = open("t.ics", newline="").read()
import icalendar, ics, vobject
from ical.calendar_stream import IcsCalendarStream
from icalevents.icalevents import events
def say(name, s): print(f"{name:13s}", s.astimezone(U).strftime("%H:%MZ"))
say("icalendar", icalendar.Calendar.from_ical(text).walk("VEVENT")[0].start)
say("icalevents", events(string_content=text.encode(), start=a, end=b)[0].start)
say("vobject", vobject.readOne(text).vevent.dtstart.value)
say("ical", list(IcsCalendarStream.calendar_from_ics(text).timeline_tz(U).overlapping(a, b))[0].dtstart)
say("ics", list(ics.Calendar(text).events)[0].begin.datetime)
E
cat >t.js <<'E'
const text = require('fs').readFileSync('t.ics', 'utf8'), a = new Date('2026-11-01'), b = new Date('2026-12-31');
const say = (n, d) => console.log(n.padEnd(13), d.toISOString().slice(11, 16) + 'Z');
const ICAL = require('ical.js').default || require('ical.js');
say('ical.js', new ICAL.Event(new ICAL.Component(ICAL.parse(text)).getFirstSubcomponent('vevent')).startDate.toJSDate());
const X = require('ical-expander');
say('ical-expander', new X({ ics: text, maxIterations: 9 }).between(a, b).events[0].startDate.toJSDate());
say('node-ical', Object.values(require('node-ical').sync.parseICS(text)).find(c => c.type === 'VEVENT').start);
E
{ v/bin/python t.py; node t.js
  calcurse -D "$T/c" -i t.ics >/dev/null 2>&1 || true
  # calcurse keeps local time: 05:00 in New York is 10:00Z
  grep -q '12/01/2026 @ 05:00' c/apts && echo "calcurse      10:00Z"; } | tee out
cat >want <<'E'
icalendar     04:30Z
icalevents    04:30Z
vobject       04:30Z
ical          10:00Z
ics           10:00Z
ical.js       04:30Z
ical-expander 15:00Z
node-ical     15:00Z
calcurse      10:00Z
E
cmp out want && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
