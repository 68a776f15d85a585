#!/bin/sh
# dtstart;tzid=Europe/Berlin:20261201T100000: names in small letters. A second file has the
# zone's name in quotes. RFC 5545 says that names are case-insensitive (2) and that values may be quoted (3.2).
#
# Guess:   09:00Z from every reader, or an error.
# Reality: small letters: ics.py silently reads 10:00Z, node-ical silently drops the talk, ical refuses the
#          calendar. Calcurse silently reads 10:00 of the machine's own zone for either. The others are right.
# Hurts:   schedules of generators written by hand; an hour of the wrong talk, with nothing in the log.
# Versions: ics 0.7.3, ical 14.3.1, icalendar 7.1.2 (PyPI), node-ical 0.26.1, ical.js 2.2.1 (npm), calcurse
#          4.7.1 (Debian 12). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"; export TZ=America/New_York HOME="$T"
command -v calcurse >/dev/null || apt-get install -y --no-install-recommends calcurse >/dev/null
calcurse --version | head -n 1
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 ical==14.3.1 ics==0.7.3
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent ical.js@2.2.1 node-ical@0.26.1
make() {
  printf '%s\r\n' BEGIN:VCALENDAR VERSION:2.0 PRODID:-//finding//EN BEGIN:VTIMEZONE TZID:Europe/Berlin BEGIN:STANDARD DTSTART:19961027T030000 \
    TZOFFSETFROM:+0200 TZOFFSETTO:+0100 'RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU' END:STANDARD BEGIN:DAYLIGHT DTSTART:19810329T020000 \
    TZOFFSETFROM:+0100 TZOFFSETTO:+0200 'RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU' END:DAYLIGHT END:VTIMEZONE \
    BEGIN:VEVENT UID:a DTSTAMP:20260101T000000Z SUMMARY:x "$1:20261201T100000" DURATION:PT1H END:VEVENT END:VCALENDAR
}
make "dtstart;tzid=Europe/Berlin" >small.ics; make 'DTSTART;TZID="Europe/Berlin"' >quoted.ics
cat >t.py <<'E'
import datetime as d, icalendar, ics
from ical.calendar_stream import IcsCalendarStream
U = d.timezone.utc
read = {"icalendar": lambda t: icalendar.Calendar.from_ical(t).walk("VEVENT")[0].start,
        "ical": lambda t: IcsCalendarStream.calendar_from_ics(t).events[0].dtstart,
        "ics": lambda t: list(ics.Calendar(t).events)[0].begin.datetime}
for n, f in read.items():
    r = []
    for name in ("small", "quoted"):
        try: r.append(f(open(name + ".ics", newline="").read()).astimezone(U).strftime("%H:%MZ"))
        except Exception as e: r.append(type(e).__name__)
    print(n, *r)
E
cat >t.js <<'E'
const fs = require('fs'), ICAL = require('ical.js').default || require('ical.js'), N = require('node-ical');
const read = {
  'ical.js': t => new ICAL.Event(new ICAL.Component(ICAL.parse(t)).getFirstSubcomponent('vevent')).startDate.toJSDate(),
  'node-ical': t => { const v = Object.values(N.sync.parseICS(t)).find(c => c.type === 'VEVENT'); return N.expandRecurringEvent(v, { from: new Date('2026-01-01'), to: new Date('2027-01-01') })[0]?.start; } };
for (const n in read) console.log(n, ...['small', 'quoted'].map(k => { try { const d = read[n](fs.readFileSync(k + '.ics', 'utf8')); return d ? d.toISOString().slice(11, 16) + 'Z' : 'nothing'; } catch (e) { return e.name; } }));
E
{ v/bin/python t.py; node t.js
  for k in small quoted; do calcurse -D "$T/$k" -i $k.ics >/dev/null 2>&1 || true; sed 's/.*\(..:..\) -> .*/\1/' $k/apts; done | xargs echo 'calcurse(New York)'; } | tee out
cat >want <<'E'
icalendar 09:00Z 09:00Z
ical CalendarParseError 09:00Z
ics 10:00Z 09:00Z
ical.js 09:00Z 09:00Z
node-ical nothing 09:00Z
E
head -n 5 out | cmp - want && grep -q '^calcurse.* 10:00$' out && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
