#!/bin/sh
# A schedule is made with python's icalendar from times that know their offset: a daily talk until 29 December,
# its UNTIL given in Europe/Berlin, and a talk whose times have a fixed offset (+01:00, as ISO 8601 and JSON
# schedules give them).
#
# Guess:   UNTIL is converted to UTC (RFC 5545, 3.3.10, demands it), a fixed offset as well, since iCalendar has
#          no offsets.
# Reality: UNTIL is written as Berlin's wall clock without zone or Z: dateutil refuses the rule. The fixed offset becomes
#          TZID="UTC+01:00", a zone that no VTIMEZONE of the file and no table defines; ical.js silently
#          reads 10:00 of the machine's own zone.
# Hurts:   conferences whose export is twenty lines of Python: a talk at another hour for each listener's zone.
# Versions: icalendar 7.1.2, python-dateutil 2.9.0.post0 (PyPI), ical.js 2.2.1 (npm). Seen 2026-12-01.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"; export TZ=America/New_York
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 python-dateutil==2.9.0.post0
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent ical.js@2.2.1
cat >w.py <<'E'
import datetime as d, zoneinfo, icalendar
from dateutil.rrule import rrulestr
b = zoneinfo.ZoneInfo("Europe/Berlin")
c = icalendar.Calendar(); c.add("version", "2.0"); c.add("prodid", "x")
e = icalendar.Event(); e.add("uid", "fixed"); e.add("dtstart", d.datetime(2026, 12, 27, 10, tzinfo=d.timezone(d.timedelta(hours=1)))); e.add("summary", "fixed"); c.add_component(e)
open("t.ics", "wb").write(c.to_ical())
print([l for l in c.to_ical().decode().splitlines() if l.startswith("DTSTART")][0])
r = icalendar.Event(); r.add("dtstart", d.datetime(2026, 12, 27, 10, tzinfo=b)); r.add("rrule", {"freq": "daily", "until": d.datetime(2026, 12, 29, 10, tzinfo=b)})
lines = [l for l in r.to_ical().decode().splitlines() if l.startswith(("DTSTART", "RRULE"))]
print(*lines)
try: rrulestr("\n".join(lines)); print("dateutil: taken")
except ValueError as x: print("dateutil:", x)
E
cat >r.js <<'E'
const t = require('fs').readFileSync('t.ics', 'utf8'), ICAL = require('ical.js').default || require('ical.js');
console.log('ical.js', new ICAL.Event(new ICAL.Component(ICAL.parse(t)).getFirstSubcomponent('vevent')).startDate.toJSDate().toISOString());
E
{ v/bin/python w.py; echo "right: 2026-12-27T09:00Z; this machine is in New York"; node r.js; } 2>&1 | tee out
grep -q 'TZID="UTC+01:00":20261227T100000' out && grep -q 'UNTIL=20261229T100000$' out && grep -q '^dateutil: RRULE UNTIL' out && grep -q '^ical.js 2026-12-27T15:00' out && echo SEEN || { echo "NO LONGER SEEN"; exit 1; }
