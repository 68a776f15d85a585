-- A recording stays under the hall and slot that it was made under, whatever the schedule says afterwards.

CREATE TABLE rescheduled (                                  -- what the schedule says by now of a talk whose row keeps the hall and slot of its recording
  talk_id           INTEGER PRIMARY KEY REFERENCES talk (id), -- the talk
  since_ms          INTEGER NOT NULL,                       -- when that was imported
  status            TEXT NOT NULL CHECK (status IN ('scheduled', 'cancelled', 'removed')), -- scheduled: in another hall or slot
  hall_id           INTEGER NOT NULL REFERENCES hall (id),  -- the hall that the schedule names, or named last
  start_ms          INTEGER NOT NULL,                       -- slot that the schedule names, or named last, first instant
  end_ms            INTEGER NOT NULL CHECK (end_ms >= start_ms) -- first instant after
) STRICT;

-- A talk that is recorded again under another hall or slot has a row of its own for that, which names the one before it.
ALTER TABLE talk ADD COLUMN follows INTEGER REFERENCES talk (id); -- holds what was recorded of it under another hall or slot; NULL: nothing
CREATE INDEX talk_by_follows ON talk (follows) WHERE follows IS NOT NULL;

-- Rooms are renamed while the conference runs.
ALTER TABLE hall ADD COLUMN room_guid TEXT CHECK (room_guid <> ''); -- guid of the room in schedule.xml, which stays when it is renamed; NULL: not known
ALTER TABLE hall_alias ADD COLUMN origin TEXT NOT NULL DEFAULT 'halls-file' CHECK (origin IN ('halls-file', 'schedule')); -- who said so; schedule: a new name that all its talks, or its guid, had from one import to the next

CREATE TRIGGER schedule_talk_rescheduled AFTER INSERT ON rescheduled BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
