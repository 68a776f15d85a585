"""Dates of calendars as icalendar and recurring-ical-events read them, one JSON object a line.

    python dates.py FOLDER... > dates.jsonl

Each calendar is read in two windows: two years from its first DTSTART on, and two years from 2026-12-01 on.
"""

import datetime as dt
import itertools
import json
import pathlib
import re
import sys
import zoneinfo

import icalendar
import recurring_ical_events

# Times that name no zone are read in this one, here and by the test that compares.
HOME = zoneinfo.ZoneInfo("Europe/Berlin")
YEARS = dt.timedelta(days=731)
NOW = dt.datetime(2026, 12, 1, tzinfo=HOME)
UNFOLD = re.compile(r"\r*\n[ \t]")


OWN = itertools.count()


def own_zones(text):
    """Renames zones that the file defines itself: icalendar takes a zone of its database for a name it knows."""
    names = []
    for block in re.findall(r"BEGIN:VTIMEZONE.*?END:VTIMEZONE", text, re.S):
        found = re.search(r"^TZID[^:\r\n]*:(.*?)\r?$", block, re.M)
        if found and re.search(r"^DTSTART", block, re.M):
            names.append(found.group(1))
    for name in dict.fromkeys(names):
        plain = name.replace("\\,", ",").replace("\\;", ";")
        # The library keeps the first zone of a name that it sees, in whatever file.
        new = f"Own-Zone-{next(OWN)}"
        text = re.sub(r"(?m)^(TZID[^:\r\n]*:)" + re.escape(name) + r"(\r?)$", rf"\g<1>{new}\g<2>", text)
        for written in (f'"{plain}"', plain):
            text = re.sub(r";TZID=" + re.escape(written) + r"(?=[:;])", f";TZID={new}", text)
    return text


def instant(value):
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if value.tzinfo is None:
        value = value.replace(tzinfo=HOME)
    return int(value.timestamp() * 1000)


def dates(calendars, start, stop):
    out = []
    for calendar in calendars:
        for event in recurring_ical_events.of(calendar, components=["VEVENT"]).between(start, stop):
            begin = instant(event.start)
            if instant(start) <= begin < instant(stop):
                # The library gives an end to entries without one.
                out.append([begin, (instant(event.end) - begin) or None])
    return sorted(out, key=lambda d: (d[0], d[1] or 0))


def main():
    for folder in sys.argv[1:]:
        for path in sorted(pathlib.Path(folder).rglob("*.ics")):
            raw = path.read_bytes()
            text = UNFOLD.sub("", raw.decode("utf-8", "replace").lstrip("\ufeff"))
            first = re.findall(r"^DTSTART[^\r\n]*:(\d{8})", re.sub(r"BEGIN:VTIMEZONE.*?END:VTIMEZONE", "", text, flags=re.S), re.M)
            windows = [NOW]
            try:
                if first:
                    windows.insert(0, dt.datetime.strptime(min(first), "%Y%m%d").replace(tzinfo=HOME) - dt.timedelta(days=1))
            except ValueError:
                pass
            for start in windows:
                record = {"file": str(path), "from": instant(start), "until": instant(start + YEARS)}
                try:
                    calendars = icalendar.Calendar.from_ical(own_zones(text), multiple=True)
                    record["dates"] = dates(calendars, start, start + YEARS)
                except Exception as e:  # Whatever a library raises for a file is its answer.
                    record["error"] = f"{type(e).__name__}: {e}"[:200]
                print(json.dumps(record), flush=True)


main()
