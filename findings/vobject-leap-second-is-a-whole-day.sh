#!/bin/sh
# DTSTART:20161231T235960Z, the leap second (RFC 5545, 3.3.12, allows 60 and says that who cannot have it
# takes 59).
#
# Guess:   23:59:59, 00:00:00, or an error.
# Reality: vobject returns a date: the talk becomes an all-day one, without a warning. ical.js takes
#          00:00:00; icalendar, ical and ics raise an error (ical and ics for the whole calendar).
# Hurts:   archives of GPS clocks' and time conferences' own schedules; more so whoever takes the type of
#          the value (date or date and time) for what the file says.
# Versions: vobject 0.9.9, icalendar 7.1.2, ical 14.3.1, ics 0.7.3 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install vobject==0.9.9 icalendar==7.1.2 ical==14.3.1 ics==0.7.3
cat >t.py <<'E'
import datetime as d, sys
text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//finding//EN", "BEGIN:VEVENT", "UID:a", "DTSTAMP:20260101T000000Z",
    "SUMMARY:x", "DTSTART:20161231T235960Z", "DURATION:PT1H", "END:VEVENT", "END:VCALENDAR", ""])
import vobject, icalendar, ics
from ical.calendar_stream import IcsCalendarStream
read = {"vobject": lambda: vobject.readOne(text).vevent.dtstart.value,
        "icalendar": lambda: icalendar.Calendar.from_ical(text).walk("VEVENT")[0].start,
        "ical": lambda: IcsCalendarStream.calendar_from_ics(text).events[0].dtstart,
        "ics": lambda: list(ics.Calendar(text).events)[0].begin}
got = {}
for n, f in read.items():
    try: got[n] = f()
    except Exception as e: got[n] = type(e).__name__
    print(f"{n:9s} {got[n]!r}")
ok = type(got["vobject"]) is d.date and all(isinstance(got[n], str) for n in ("icalendar", "ical", "ics"))
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py
