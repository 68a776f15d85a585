#!/bin/sh
# A talk that is given twice: DTSTART and one RDATE, no RRULE.
#
# Guess:   RFC 5545 (3.8.5.2): the recurrence set is DTSTART and the RDATEs, so two talks.
# Reality: three answers. recurring-ical-events: both. ical and ical.js (ical-expander with it): only
#          the repeat, the first talk is gone. icalevents, node-ical and ics: only the first. No
#          reader says a word.
# Hurts:   who records from such a schedule: one of the two talks is never recorded, which one depends
#          on the library.
# Versions: recurring-ical-events 3.8.2 with icalendar 7.1.2, ical 14.3.1, icalevents 0.3.1, ics 0.7.3
#          (PyPI); ical.js 2.2.1, ical-expander 3.2.0, node-ical 0.26.1 (npm). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 recurring-ical-events==3.8.2 ical==14.3.1 icalevents==0.3.1 ics==0.7.3
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent ical.js@2.2.1 ical-expander@3.2.0 node-ical@0.26.1
printf '%s\r\n' BEGIN:VCALENDAR VERSION:2.0 PRODID:-//finding//EN BEGIN:VEVENT UID:a DTSTAMP:20260101T000000Z SUMMARY:twice \
  DTSTART:20261201T100000Z DURATION:PT1H RDATE:20261203T100000Z END:VEVENT END:VCALENDAR >t.ics
cat >t.py <<'E'
import datetime as d, warnings
warnings.simplefilter("ignore")
U = d.timezone.utc
a, b = d.datetime(2026, 11, 1, tzinfo=U), d.datetime(2026, 12, 31, tzinfo=U)
text = open("t.ics", newline="").read()
import icalendar, recurring_ical_events, ics
from ical.calendar_stream import IcsCalendarStream
from icalevents.icalevents import events
def say(name, starts): print(f"{name:21s}", *sorted(s.astimezone(U).strftime("%d.") for s in starts))
say("recurring-ical-events", [e.start for e in recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(a, b)])
say("ical", [e.dtstart for e in IcsCalendarStream.calendar_from_ics(text).timeline_tz(U).overlapping(a, b)])
say("icalevents", [e.start for e in events(string_content=text.encode(), start=a, end=b, tzinfo=U)])
say("ics", [e.begin.datetime for e in ics.Calendar(text).events])
E
cat >t.js <<'E'
const text = require('fs').readFileSync('t.ics', 'utf8'), a = new Date('2026-11-01'), b = new Date('2026-12-31');
const say = (n, r) => console.log(n.padEnd(21), ...r.map(d => d.toISOString().slice(8, 10) + '.').sort());
const ICAL = require('ical.js').default || require('ical.js');
const e = new ICAL.Event(new ICAL.Component(ICAL.parse(text)).getFirstSubcomponent('vevent')), it = e.iterator(), r = [];
for (let n; r.length < 9 && (n = it.next());) r.push(n.toJSDate());
say('ical.js', r);
const X = require('ical-expander'), x = new X({ ics: text, maxIterations: 9 }).between(a, b);
say('ical-expander', [...x.events, ...x.occurrences].map(o => o.startDate.toJSDate()));
const N = require('node-ical'), v = Object.values(N.sync.parseICS(text)).find(c => c.type === 'VEVENT');
say('node-ical', N.expandRecurringEvent(v, { from: a, to: b }).map(o => o.start));
E
{ v/bin/python t.py; node t.js; } | sed 's/ *$//' | tee out
cat >want <<'E'
recurring-ical-events 01. 03.
ical                  03.
icalevents            01.
ics                   01.
ical.js               03.
ical-expander         03.
node-ical             01.
E
cmp out want && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
