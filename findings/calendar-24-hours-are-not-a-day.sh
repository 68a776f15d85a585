#!/bin/sh
# A talk of DURATION:PT24H and one of DURATION:P1D in the night when summer time ends.
#
# Guess:   RFC 5545 (3.3.6) tells the two apart: P1D is a nominal day (noon to noon, 25 hours of
#          real time in that night), PT24H is exact time (noon to 11:00). A reader does both.
# Reality: none of seven readers tells them apart. Those that add to the wall clock (ical, ics, ical.js) end
#          PT24H an hour late; icalendar, recurring-ical-events, icalevents and node-ical end P1D an hour
#          early. With ical.js even a talk of one hour, 01:00 to 02:00 in that night, lasts two hours: its
#          end is the second 02:00.
# Hurts:   who records by a calendar through that night: an hour of stream too few or too many.
# Versions: icalendar 7.1.2, recurring-ical-events 3.8.2, ical 14.3.1, ics 0.7.3, icalevents 0.3.1
#          (PyPI); ical.js 2.2.1, node-ical 0.26.1 (npm). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 recurring-ical-events==3.8.2 ical==14.3.1 ics==0.7.3 icalevents==0.3.1
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent ical.js@2.2.1 node-ical@0.26.1
cat >make.py <<'E'
zone = """BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19961027T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19810329T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
END:VTIMEZONE
"""
def talk(name, start, duration):
    return f"BEGIN:VEVENT\nUID:{name}\nDTSTAMP:20260101T000000Z\nSUMMARY:{name}\nDTSTART;TZID=Europe/Berlin:{start}\nDURATION:{duration}\nEND:VEVENT\n"
text = ("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//finding//EN\n" + zone + talk("P1D", "20261024T120000", "P1D")
        + talk("PT24H", "20261024T120000", "PT24H") + talk("PT1H", "20261025T010000", "PT1H") + "END:VCALENDAR\n")
open("t.ics", "w", newline="").write(text.replace("\n", "\r\n"))
E
python3 make.py
echo "right by RFC 5545:    P1D=25 PT24H=24 PT1H=1 (hours of real time)"
cat >read.py <<'E'
import datetime as d, warnings
warnings.simplefilter("ignore")
U = d.timezone.utc
a, b = d.datetime(2026, 10, 1, tzinfo=U), d.datetime(2026, 11, 30, tzinfo=U)
text = open("t.ics", newline="").read()
def hours(s, e): return (e.astimezone(U) - s.astimezone(U)).total_seconds() / 3600
import icalendar, recurring_ical_events, ics
from ical.calendar_stream import IcsCalendarStream
from icalevents.icalevents import events
def say(name, r):
    print(f"{name:21s} " + " ".join(f"{k}={r[k]:g}" for k in ("P1D", "PT24H", "PT1H")))
c = icalendar.Calendar.from_ical(text)
say("icalendar", {str(e["SUMMARY"]): hours(e.start, e.end) for e in c.walk("VEVENT")})
say("recurring-ical-events", {str(e["SUMMARY"]): hours(e.start, e.end) for e in recurring_ical_events.of(c).between(a, b)})
say("ical", {e.summary: hours(e.dtstart, e.end) for e in IcsCalendarStream.calendar_from_ics(text).events})
say("ics", {e.name: hours(e.begin.datetime, e.end.datetime) for e in ics.Calendar(text).events})
say("icalevents", {e.summary: hours(e.start, e.end) for e in events(string_content=text.encode(), start=a, end=b, tzinfo=U)})
E
cat >read.js <<'E'
const fs = require('fs'), text = fs.readFileSync('t.ics', 'utf8');
const say = (n, r) => console.log(n.padEnd(21), ['P1D', 'PT24H', 'PT1H'].map(k => k + '=' + r[k]).join(' '));
const ICAL = require('ical.js').default || require('ical.js');
const comp = new ICAL.Component(ICAL.parse(text)), r = {}, q = {};
ICAL.TimezoneService.register(comp.getFirstSubcomponent('vtimezone'));
for (const v of comp.getAllSubcomponents('vevent')) { const e = new ICAL.Event(v); r[e.summary] = (e.endDate.toJSDate() - e.startDate.toJSDate()) / 3600000; }
say('ical.js', r);
for (const e of Object.values(require('node-ical').sync.parseICS(text))) if (e.type === 'VEVENT') q[e.summary] = (e.end - e.start) / 3600000;
say('node-ical', q);
E
{ v/bin/python read.py; node read.js; } | tee out
n=$(wc -l <out)
wrong=$(grep -c -v 'P1D=25 PT24H=24' out || true)
same=$(grep -c -E 'P1D=(24|25) PT24H=\1 ' out || true)
echo "readers: $n, wrong on one of the two: $wrong, the same for both: $same"
[ "$n" = 7 ] && [ "$wrong" = 7 ] && [ "$same" = 7 ] && grep -q '^ical.js .*PT1H=2$' out || { echo "NO LONGER SEEN"; exit 1; }
echo "SEEN"
