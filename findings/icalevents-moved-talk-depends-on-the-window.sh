#!/bin/sh
# A daily talk of which the second one (2 December) was moved to 5 January (RECURRENCE-ID). A program asks
# for the talks of December.
#
# Guess:   2 December is free, whatever period is asked for.
# Reality: icalevents reads the exception only if its NEW date lies in the period asked for. Asked for
#          December alone, it lists the talk of 2 December as if it were still on; asked for December and
#          January, it does not. The same file, the same day, two answers. recurring-ical-events is right
#          both times.
# Hurts:   who asks for "today" or "this week": a hall is recorded for a talk that was moved far away.
# Versions: icalevents 0.3.1, recurring-ical-events 3.8.2, icalendar 7.1.2 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalevents==0.3.1 icalendar==7.1.2 recurring-ical-events==3.8.2
cat >t.py <<'E'
import datetime as d, sys
U = d.timezone.utc
text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//finding//EN",
    "BEGIN:VEVENT", "UID:a", "DTSTAMP:20260101T000000Z", "SUMMARY:daily", "DTSTART:20261201T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3", "END:VEVENT",
    "BEGIN:VEVENT", "UID:a", "DTSTAMP:20260101T000000Z", "SUMMARY:moved", "RECURRENCE-ID:20261202T100000Z", "DTSTART:20270105T100000Z", "DURATION:PT1H", "END:VEVENT",
    "END:VCALENDAR", ""])
import icalendar, recurring_ical_events
from icalevents.icalevents import events
def say(r): return sorted(r)
a = d.datetime(2026, 12, 1, tzinfo=U)
got = {}
for name, b in (("December", d.datetime(2026, 12, 31, tzinfo=U)), ("December and January", d.datetime(2027, 1, 31, tzinfo=U))):
    got[name] = sorted(f"{e.start:%m-%d} {e.summary}" for e in events(string_content=text.encode(), start=a, end=b, tzinfo=U))
    right = sorted(f"{e.start:%m-%d} {e['SUMMARY']}" for e in recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(a, b))
    print(f"{name}: icalevents {got[name]}; recurring-ical-events {right}")
ok = "12-02 daily" in got["December"] and "12-02 daily" not in got["December and January"]
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py
