#!/bin/sh
# A valid calendar goes through ics.py (read, written again unchanged) and on to another library.
#
# Guess:   the copy is as valid as the original.
# Reality: ics.py 0.7.3 adds CALSCALE:GEORGIAN (sic; the standard's only value is GREGORIAN) to every
#          calendar that it has read, though the original names no scale. recurring-ical-events then
#          refuses the whole calendar ("Only Gregorian calendars are supported."). The zone is gone as
#          well: DTSTART is rewritten to UTC while RRULE stays, so that a weekly 10:00 talk is at 09:00
#          from the end of summer time on.
# Hurts:   whoever merges or filters schedules with ics.py before another program expands them.
# Versions: ics 0.7.3, icalendar 7.1.2, recurring-ical-events 3.8.2 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 recurring-ical-events==3.8.2 ics==0.7.3
cat >t.py <<'E'
import datetime as d, sys, warnings
warnings.simplefilter("ignore")
import ics, icalendar, recurring_ical_events
text = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//finding//EN
BEGIN:VEVENT
UID:a
DTSTAMP:20260101T000000Z
SUMMARY:weekly
DTSTART;TZID=Europe/Berlin:20261020T100000
DURATION:PT1H
RRULE:FREQ=WEEKLY;COUNT=2
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")
def starts(t):
    c = icalendar.Calendar.from_ical(t)
    berlin = __import__("zoneinfo").ZoneInfo("Europe/Berlin")
    return [e.start.astimezone(berlin).strftime("%d %H:%M") for e in recurring_ical_events.of(c).between(d.date(2026, 10, 1), d.date(2026, 12, 1))]
copy = ics.Calendar(text).serialize()
scale = [l for l in copy.splitlines() if "CALSCALE" in l]
print("original read by recurring-ical-events, Berlin:", starts(text))
print("the copy says:", scale, [l for l in copy.splitlines() if l.startswith("DTSTART")])
try: starts(copy); refused = ""
except Exception as e: refused = f"{type(e).__name__}: {e}"
print("the copy read by recurring-ical-events:", refused)
shifted = starts(copy.replace("CALSCALE:GEORGIAN\r\n", "").replace("CALSCALE:GEORGIAN\n", ""))
print("without that line, Berlin:", shifted)
ok = scale == ["CALSCALE:GEORGIAN"] and "Gregorian" in refused and starts(text) == ["20 10:00", "27 10:00"] and shifted == ["20 10:00", "27 09:00"]
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py
