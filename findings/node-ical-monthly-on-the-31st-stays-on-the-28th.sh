#!/bin/sh
# RRULE:FREQ=MONTHLY;COUNT=3 from 31 January.
#
# Guess:   31 January, 31 March, 31 May (RFC 5545, 3.3.10: a date that does not exist is left out).
# Reality: node-ical answers 31 January, 28 February, 28 March: it does not only move the date that does not
#          exist, it stays on the 28th from then on. The cause is the release of rrule-temporal that npm
#          resolves for it (1.6.0); rrule-temporal 2.2.8 by itself is right.
# Hurts:   monthly meetings at the month's end.
# Versions: node-ical 0.26.1, rrule-temporal 2.2.8 and the 1.6 that node-ical brings (npm). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent node-ical@0.26.1 rrule-temporal@2.2.8
cat >t.js <<'E'
const N = require('node-ical'), { RRuleTemporal } = require('rrule-temporal');
const text = ['BEGIN:VCALENDAR', 'VERSION:2.0', 'PRODID:-//finding//EN', 'BEGIN:VEVENT', 'UID:a', 'DTSTAMP:20260101T000000Z', 'SUMMARY:x',
  'DTSTART:20260131T100000Z', 'DURATION:PT1H', 'RRULE:FREQ=MONTHLY;COUNT=3', 'END:VEVENT', 'END:VCALENDAR', ''].join('\r\n');
const v = Object.values(N.sync.parseICS(text)).find(c => c.type === 'VEVENT');
const got = N.expandRecurringEvent(v, { from: new Date('2026-01-01'), to: new Date('2026-12-31') }).map(o => o.start.toISOString().slice(5, 10)).join(' ');
const alone = new RRuleTemporal({ rruleString: 'DTSTART:20260131T100000Z\nRRULE:FREQ=MONTHLY;COUNT=3' }).all().map(o => String(o).slice(5, 10)).join(' ');
console.log('node-ical:           ', got); console.log('rrule-temporal 2.2.8:', alone);
const ok = got === '01-31 02-28 03-28' && alone === '01-31 03-31 05-31';
console.log(ok ? 'SEEN' : 'NO LONGER SEEN'); process.exit(ok ? 0 : 1);
E
node t.js
