#!/bin/sh
# A daily talk of which the second one is cancelled (RECURRENCE-ID with STATUS:CANCELLED) and the third one
# moved by two hours.
#
# Guess:   the timeline of a calendar replaces these two: three entries, one of them cancelled.
# Reality: ical (the library under Home Assistant's calendars) lists five: the exceptions, and the talks that
#          they replace as well, as if they were on. Its store applies an edit to a series by EXDATE, so the
#          files that it wrote itself look right; a file by another program does not.
#          recurring-ical-events gives three.
# Hurts:   who records or rings by such a calendar: cancelled talks take place, moved ones take place twice.
# Versions: ical 14.3.1, recurring-ical-events 3.8.2, icalendar 7.1.2 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install ical==14.3.1 icalendar==7.1.2 recurring-ical-events==3.8.2
cat >t.py <<'E'
import datetime as d, sys
U = d.timezone.utc
def ev(*l): return ["BEGIN:VEVENT", "UID:a", "DTSTAMP:20260101T000000Z", "SUMMARY:x", "DURATION:PT1H", *l, "END:VEVENT"]
text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//finding//EN", *ev("DTSTART:20261201T100000Z", "RRULE:FREQ=DAILY;COUNT=3"),
    *ev("RECURRENCE-ID:20261202T100000Z", "DTSTART:20261202T100000Z", "STATUS:CANCELLED"), *ev("RECURRENCE-ID:20261203T100000Z", "DTSTART:20261203T120000Z"), "END:VCALENDAR", ""])
import icalendar, recurring_ical_events
from ical.calendar_stream import IcsCalendarStream
a, b = d.datetime(2026, 12, 1, tzinfo=U), d.datetime(2026, 12, 31, tzinfo=U)
def say(s, status): return s.strftime("%d. %H:%M") + (" cancelled" if str(status or "").endswith("CANCELLED") else "")
got = sorted(say(e.dtstart, e.status) for e in IcsCalendarStream.calendar_from_ics(text).timeline_tz(U).overlapping(a, b))
right = sorted(say(e.start, e.get("STATUS")) for e in recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(a, b))
print("ical:                 ", got); print("recurring-ical-events:", right)
ok = got == ["01. 10:00", "02. 10:00", "02. 10:00 cancelled", "03. 10:00", "03. 12:00"] and right == ["01. 10:00", "02. 10:00 cancelled", "03. 12:00"]
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py
