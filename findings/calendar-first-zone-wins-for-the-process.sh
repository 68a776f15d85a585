#!/bin/sh
# One process reads the schedules of two conferences. Each defines a zone "hall" of its own, one +01:00,
# one -08:00.
#
# Guess:   each file's VTIMEZONE holds for that file.
# Reality: icalendar (and all that is built on it) and vobject keep the first definition of a name for
#          the whole process: the second conference's talk of 10:00 is read as 09:00Z, where 18:00Z is
#          right. Read alone, it is right; so the answer depends on which file came before.
# Hurts:   servers that read many calendars, and a recorder that re-reads one whose VTIMEZONE was mended:
#          the correction is not seen until the process is restarted.
# Versions: icalendar 7.1.2, vobject 0.9.9 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v
v/bin/pip -q --disable-pip-version-check install icalendar==7.1.2 vobject==0.9.9
cat >t.py <<'E'
import datetime as d, subprocess, sys
U = d.timezone.utc
def cal(offset):
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//finding//EN", "BEGIN:VTIMEZONE", "TZID:hall", "BEGIN:STANDARD",
        "DTSTART:19700101T000000", "TZOFFSETFROM:" + offset, "TZOFFSETTO:" + offset, "END:STANDARD", "END:VTIMEZONE", "BEGIN:VEVENT",
        "UID:a", "DTSTAMP:20260101T000000Z", "SUMMARY:x", "DTSTART;TZID=hall:20261201T100000", "DURATION:PT1H", "END:VEVENT", "END:VCALENDAR", ""])
def icalendar_(t):
    import icalendar
    return icalendar.Calendar.from_ical(t).walk("VEVENT")[0].start
def vobject_(t):
    import vobject
    return vobject.readOne(t).vevent.dtstart.value
read = {"icalendar": icalendar_, "vobject": vobject_}
if len(sys.argv) > 1:
    print(*[read[sys.argv[1]](cal(o)).astimezone(U).strftime("%H:%MZ") for o in sys.argv[2:]])
    sys.exit()
ok = True
for name in read:
    def run(*offsets): return subprocess.check_output([sys.executable, "t.py", name, *offsets], text=True).split()
    alone, after, back = run("-0800"), run("+0100", "-0800"), run("-0800", "+0100")
    print(f"{name}: -0800 alone {alone}; +0100 then -0800 {after}; -0800 then +0100 {back} (right: 09:00Z and 18:00Z)")
    ok &= alone == ["18:00Z"] and after == ["09:00Z", "09:00Z"] and back == ["18:00Z", "18:00Z"]
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py
