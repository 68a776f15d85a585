-- Names are looked up when a stream is opened, long after the import has read the halls file.

ALTER TABLE event ADD COLUMN private_streams INTEGER NOT NULL DEFAULT 0 CHECK (private_streams IN (0, 1)); -- 1: streams that its schedule names may be on this machine or in a private network; from the halls file

CREATE TRIGGER schedule_event_allowed AFTER UPDATE OF private_streams ON event
  BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
