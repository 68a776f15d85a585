-- The catalog. Instants are INTEGER milliseconds since the Unix epoch, UTC, in columns that end in _ms;
-- lengths of time end in _ms too and say so. Flags are 0 or 1. Rows that two recorders may one day bring
-- together carry a UUID beside their local id.

CREATE TABLE meta (
  id                INTEGER PRIMARY KEY CHECK (id = 1),     -- one row
  schedule_version  INTEGER NOT NULL DEFAULT 0              -- counts changes of what should be taped; a daemon that sees another number plans anew
) STRICT;
INSERT INTO meta (id) VALUES (1);

CREATE TABLE event (                                        -- a conference
  id                INTEGER PRIMARY KEY,                    -- row id
  name              TEXT NOT NULL UNIQUE CHECK (name <> ''), -- as in --event
  slug              TEXT NOT NULL UNIQUE CHECK (slug <> ''), -- name of its folders
  time_zone         TEXT NOT NULL,                          -- IANA name; what its times are printed in
  source            TEXT,                                   -- where the schedule came from: absolute path or URL; NULL: standard input, or none
  halls_file        TEXT,                                   -- absolute path of its halls file, NULL: none
  schedule_xml      TEXT,                                   -- path or URL of its schedule.xml, NULL: none
  zone_option       TEXT,                                   -- --tz of the import, used again at each refresh
  pre_padding_ms    INTEGER CHECK (pre_padding_ms >= 0),    -- length; from the halls file; NULL: the setting
  post_padding_ms   INTEGER CHECK (post_padding_ms >= 0),   -- length; from the halls file; NULL: the setting
  refreshed_ms      INTEGER,                                -- last time the source was read without fault
  refresh_problem   TEXT,                                   -- why the last refresh was not applied; NULL: it was
  refresh_problem_ms INTEGER                                -- since when
) STRICT;

CREATE TABLE hall (                                         -- a room with streams
  id                INTEGER PRIMARY KEY,                    -- row id
  event_id          INTEGER NOT NULL REFERENCES event (id), -- the event it belongs to
  name              TEXT NOT NULL CHECK (name <> ''),       -- as the schedule's LOCATION names it
  slug              TEXT NOT NULL CHECK (slug <> ''),       -- name of its folder
  recorder          TEXT CHECK (recorder IN ('auto', 'mplayer', 'ffmpeg', 'http', 'hls')), -- NULL: the setting
  max_connections   INTEGER NOT NULL DEFAULT 2 CHECK (max_connections >= 1), -- what its server allows us; 1: handovers are skipped
  UNIQUE (event_id, name),
  UNIQUE (event_id, slug)
) STRICT;

CREATE TABLE hall_alias (                                   -- other names of a hall
  hall_id           INTEGER NOT NULL REFERENCES hall (id),  -- the hall it belongs to
  alias             TEXT NOT NULL,                          -- as written in the halls file
  PRIMARY KEY (hall_id, alias)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream (                                       -- one URL of a hall
  id                INTEGER PRIMARY KEY,                    -- row id
  hall_id           INTEGER NOT NULL REFERENCES hall (id),  -- the hall it belongs to
  url               TEXT NOT NULL,                          -- whole, with password if it has one: never printed as it is
  priority          INTEGER NOT NULL,                       -- 0 is tried first
  origin            TEXT NOT NULL CHECK (origin IN ('halls-file', 'command', 'schedule')), -- who named it; the first two win over the third
  added_ms          INTEGER NOT NULL,                       -- when it became known
  removed_ms        INTEGER CHECK (removed_ms >= added_ms)  -- when it was taken away; NULL: in use
) STRICT;
CREATE INDEX stream_by_hall ON stream (hall_id);

CREATE TABLE talk (                                         -- one entry of a schedule
  id                INTEGER PRIMARY KEY,                    -- what the user types
  event_id          INTEGER NOT NULL REFERENCES event (id), -- the event it belongs to
  hall_id           INTEGER NOT NULL REFERENCES hall (id),  -- the hall it belongs to
  match_key         TEXT NOT NULL,                          -- what makes it the same talk at the next import: UID and recurrence id, or hall, start and title
  uid               TEXT,                                   -- of the calendar, NULL: it has none
  title             TEXT NOT NULL,                          -- title
  speakers          TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(speakers)), -- JSON array of names
  start_ms          INTEGER NOT NULL,                       -- slot, first instant
  end_ms            INTEGER NOT NULL CHECK (end_ms >= start_ms), -- slot as scheduled, first instant after
  extended_ms       INTEGER NOT NULL DEFAULT 0 CHECK (extended_ms >= 0), -- length the user added to the slot's end; survives re-imports
  status            TEXT NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'cancelled', 'removed')), -- what the schedule says
  opted_out         INTEGER NOT NULL DEFAULT 0 CHECK (opted_out IN (0, 1)), -- must not be recorded
  origin            TEXT NOT NULL DEFAULT 'schedule' CHECK (origin IN ('schedule', 'manual')), -- manual: by record or dump; imports leave it alone
  page_url          TEXT,                                   -- the talk's page, never a stream
  known_since_ms    INTEGER NOT NULL,                       -- since when this slot in this hall is known: what is missing before it was imported late
  UNIQUE (event_id, match_key)
) STRICT;
CREATE INDEX talk_by_time ON talk (start_ms);
CREATE INDEX talk_by_hall ON talk (hall_id, start_ms);
CREATE INDEX talk_by_uid ON talk (uid);

CREATE TABLE import (                                       -- an import that changed something
  id                INTEGER PRIMARY KEY,                    -- row id
  event_id          INTEGER NOT NULL REFERENCES event (id), -- the event it belongs to
  at_ms             INTEGER NOT NULL,                       -- when
  source            TEXT,                                   -- as event.source
  digest            BLOB NOT NULL CHECK (length(digest) = 32) -- SHA-256 of the calendar that was imported
) STRICT;
CREATE INDEX import_by_event ON import (event_id, at_ms);

CREATE TABLE talk_change (                                  -- what an import changed of a talk
  id                INTEGER PRIMARY KEY,                    -- row id
  import_id         INTEGER NOT NULL REFERENCES import (id), -- the import
  talk_id           INTEGER NOT NULL REFERENCES talk (id),  -- the talk
  kind              TEXT NOT NULL,                          -- added, moved, hall, retitled, cancelled, removed, ...
  before            TEXT,                                   -- what it was, for people
  after             TEXT                                    -- what it is, for people
) STRICT;
CREATE INDEX talk_change_by_talk ON talk_change (talk_id);
CREATE INDEX talk_change_by_import ON talk_change (import_id);

CREATE TABLE daemon_run (                                   -- one life of a daemon on this data directory
  id                INTEGER PRIMARY KEY,                    -- row id
  uuid              TEXT NOT NULL UNIQUE,                   -- the same on every machine
  version           TEXT NOT NULL,                          -- of streamrip
  pid               INTEGER NOT NULL,                       -- of its process
  scope_event_id    INTEGER REFERENCES event (id),          -- it taped only this event (dump); NULL: all
  started_ms        INTEGER NOT NULL,                       -- when it began
  heartbeat_ms      INTEGER NOT NULL,                       -- last sign of life; a run without stopped_ms ended about here
  stopped_ms        INTEGER                                 -- NULL: it runs, or it was killed
) STRICT;
CREATE INDEX daemon_run_by_heartbeat ON daemon_run (heartbeat_ms);

CREATE TABLE connection (                                   -- one life of a source on a stream, also the failed ones: causes of gaps
  id                INTEGER PRIMARY KEY,                    -- row id
  uuid              TEXT NOT NULL UNIQUE,                   -- the same on every machine
  hall_id           INTEGER NOT NULL REFERENCES hall (id),  -- the hall it belongs to
  stream_id         INTEGER REFERENCES stream (id),         -- which stream; NULL: not known
  daemon_run_id     INTEGER REFERENCES daemon_run (id),     -- under which daemon
  source            TEXT NOT NULL,                          -- mplayer, ffmpeg, ...
  pid               INTEGER,                                -- of the child process, NULL: none
  pid_start         INTEGER,                                -- its start time in clock ticks since boot, so that recovery ends no stranger
  opened_ms         INTEGER NOT NULL,                       -- when it was asked for
  first_byte_ms     INTEGER,                                -- NULL: no byte came
  closed_ms         INTEGER,                                -- NULL: open, or the daemon died
  bytes             INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0), -- delivered
  end_reason        TEXT,                                   -- NULL: open
  detail            TEXT                                    -- the source's own words, without passwords
) STRICT;
CREATE INDEX connection_by_hall ON connection (hall_id, opened_ms);
CREATE INDEX connection_open ON connection (id) WHERE closed_ms IS NULL;

CREATE TABLE segment (                                      -- one file on disk, written from one connection
  id                INTEGER PRIMARY KEY,                    -- row id
  uuid              TEXT NOT NULL UNIQUE,                   -- the same on every machine
  hall_id           INTEGER NOT NULL REFERENCES hall (id),  -- the hall it belongs to
  connection_id     INTEGER REFERENCES connection (id),     -- NULL: adopted from disk
  path              TEXT NOT NULL UNIQUE CHECK (path NOT LIKE '/%'), -- relative to the data directory
  container         TEXT NOT NULL,                          -- read from the content
  start_ms          INTEGER NOT NULL,                       -- wall time its media begins; arrival of the first byte until it is indexed
  end_ms            INTEGER NOT NULL CHECK (end_ms >= start_ms), -- wall time its media ends; arrival of the last known byte until it is indexed
  opened_ms         INTEGER NOT NULL,                       -- arrival of the first byte
  closed_ms         INTEGER,                                -- NULL: open
  bytes             INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0), -- on disk, as far as known
  lost_bytes        INTEGER NOT NULL DEFAULT 0 CHECK (lost_bytes >= 0), -- arrived and could not be written
  sha256            BLOB CHECK (length(sha256) = 32),       -- NULL while open
  media_ms          INTEGER CHECK (media_ms >= 0),          -- length of its media, holes not counted; NULL: not indexed
  verdict           TEXT NOT NULL CHECK (verdict IN ('open', 'unchecked', 'media', 'not-media', 'lost', 'pruned', 'quarantined')), -- what it is worth; the words are explained in src/domain/segment.rs
  verdict_reason    TEXT,                                   -- why it is lost, pruned, quarantined or no media
  verdict_ms        INTEGER,                                -- when that was decided
  end_reason        TEXT                                    -- NULL while open
) STRICT;
CREATE INDEX segment_by_hall ON segment (hall_id, start_ms, end_ms);
-- The longest segment of a hall is one look-up: it bounds how far back a query by time must look.
CREATE INDEX segment_length ON segment (hall_id, end_ms - start_ms);
-- Recovery asks for the open ones, the worker for the unchecked, prune for the small.
CREATE INDEX segment_by_verdict ON segment (verdict, bytes);
CREATE INDEX segment_by_connection ON segment (connection_id);

CREATE TABLE mark_chunk (                                   -- when which byte of a segment came
  segment_id        INTEGER NOT NULL REFERENCES segment (id), -- the segment
  seq               INTEGER NOT NULL,                       -- order of the chunks, from 0
  marks             BLOB NOT NULL,                          -- pairs (wall time ms, byte offset), varint differences; see catalog/marks.rs
  PRIMARY KEY (segment_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE span (                                         -- a stretch of continuous media of a segment
  segment_id        INTEGER NOT NULL REFERENCES segment (id), -- the segment
  seq               INTEGER NOT NULL,                       -- order in the file, from 0
  media_start_ms    INTEGER NOT NULL,                       -- first presentation time in the segment's own clock
  media_end_ms      INTEGER NOT NULL CHECK (media_end_ms >= media_start_ms), -- end of the last packet, same clock
  offset_ms         INTEGER NOT NULL,                       -- wall time = media time + this; smallest (arrival - media time) seen
  PRIMARY KEY (segment_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE media_index (                                  -- what seams and assembly plans need of a segment, so that they need not read the file
  segment_id        INTEGER PRIMARY KEY REFERENCES segment (id), -- the segment
  format            INTEGER NOT NULL,                       -- version of data
  data              BLOB NOT NULL                           -- tracks, edge packets, key times; see catalog/media_index.rs
) STRICT;

CREATE TABLE seam (                                         -- where two neighbouring segments meet
  first_id          INTEGER NOT NULL REFERENCES segment (id), -- the earlier segment
  second_id         INTEGER NOT NULL REFERENCES segment (id), -- the later segment
  kind              TEXT NOT NULL CHECK (kind IN ('overlap', 'gap', 'format')), -- format: they cannot share a file
  shift_ms          INTEGER NOT NULL,                       -- added to the second's clock to get the first's
  shared_ms         INTEGER NOT NULL CHECK (shared_ms >= 0), -- length of media that stands in both
  missing_ms        INTEGER NOT NULL CHECK (missing_ms >= 0), -- length of media that stands in neither
  matched_packets   INTEGER NOT NULL CHECK (matched_packets >= 0), -- how many packets of the two are equal
  method            TEXT NOT NULL,                          -- how it was found: packets, clock, arrival, none
  cuts              TEXT NOT NULL CHECK (json_valid(cuts)), -- JSON per track: last packet kept of the first, first packet kept of the second
  PRIMARY KEY (first_id, second_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE assembly (                                     -- the one file made for a talk; the newest row of a talk counts
  id                INTEGER PRIMARY KEY,                    -- row id
  talk_id           INTEGER NOT NULL REFERENCES talk (id),  -- the talk
  path              TEXT NOT NULL CHECK (path NOT LIKE '/%'), -- relative to the data directory
  bytes             INTEGER NOT NULL CHECK (bytes >= 0),    -- size of the file
  sha256            BLOB NOT NULL CHECK (length(sha256) = 32), -- of the file
  duration_ms       INTEGER NOT NULL CHECK (duration_ms >= 0), -- length of its media
  made_ms           INTEGER NOT NULL,                       -- when it was made
  inputs            BLOB NOT NULL CHECK (length(inputs) = 32), -- SHA-256 of the plan it was made from: another one means it is out of date
  gone_ms           INTEGER,                                -- when it was replaced or its file went; NULL: it is there
  gone_reason       TEXT                                    -- replaced, talk cancelled, file missing, ...
) STRICT;
CREATE INDEX assembly_by_talk ON assembly (talk_id);
CREATE UNIQUE INDEX assembly_path ON assembly (path) WHERE gone_ms IS NULL;

CREATE TABLE assembly_part (                                -- what an assembly was made of, and what it rejected
  assembly_id       INTEGER NOT NULL REFERENCES assembly (id), -- the assembly
  seq               INTEGER NOT NULL,                       -- order in the file; rejected segments come last
  segment_id        INTEGER NOT NULL REFERENCES segment (id), -- the segment
  used              INTEGER NOT NULL CHECK (used IN (0, 1)), -- 0: looked at and left out
  redundant         INTEGER NOT NULL CHECK (redundant IN (0, 1)), -- 1: nothing would be missed without the segment; 0: the only copy of something
  out_start_ms      INTEGER,                                -- place in the assembly, length from its start; NULL where not used
  out_end_ms        INTEGER,                                -- likewise
  note              TEXT,                                   -- the cut, or why it was left out, for people
  PRIMARY KEY (assembly_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX assembly_part_by_segment ON assembly_part (segment_id);

CREATE TABLE assembly_todo (                                -- talks whose assembly may be missing or out of date; triggers fill it, so that nothing is forgotten
  talk_id           INTEGER PRIMARY KEY REFERENCES talk (id), -- which talk
  stamp             INTEGER NOT NULL DEFAULT (random()),    -- another one after each change: what changed during an attempt stays on the list
  tries             INTEGER NOT NULL DEFAULT 0,             -- failed attempts since the last change
  not_before_ms     INTEGER NOT NULL DEFAULT 0,             -- try again then
  problem           TEXT                                    -- why the last attempt failed, for people
) STRICT;

CREATE TABLE trouble (                                      -- what happened to the recorder itself: disk full, clock step, recovery
  id                INTEGER PRIMARY KEY,                    -- row id
  daemon_run_id     INTEGER REFERENCES daemon_run (id),     -- under which daemon
  hall_id           INTEGER REFERENCES hall (id),           -- NULL: all halls
  kind              TEXT NOT NULL,                          -- disk-full, recovered, adopted, ...
  from_ms           INTEGER NOT NULL,                       -- when it began
  until_ms          INTEGER,                                -- NULL: it lasts
  message           TEXT NOT NULL                           -- for people, without passwords
) STRICT;
CREATE INDEX trouble_by_time ON trouble (from_ms);

-- Segments whose media touches a talk's slot. (The window is longer by the padding, which settings decide.)
CREATE VIEW talk_segment AS
  SELECT talk.id AS talk_id, segment.id AS segment_id
  FROM talk JOIN segment ON segment.hall_id = talk.hall_id
    AND segment.start_ms < talk.end_ms + talk.extended_ms AND segment.end_ms > talk.start_ms;

-- Whatever changes what an assembly would be made of puts its talk on the list. One hour is more than any
-- padding needs to be: a talk that is looked at in vain costs little.
CREATE TRIGGER todo_talk_added AFTER INSERT ON talk BEGIN INSERT OR REPLACE INTO assembly_todo (talk_id) VALUES (new.id); END;
CREATE TRIGGER todo_talk_changed AFTER UPDATE ON talk BEGIN INSERT OR REPLACE INTO assembly_todo (talk_id) VALUES (new.id); END;
CREATE TRIGGER todo_segment_changed AFTER UPDATE OF verdict, hall_id ON segment
  WHEN new.verdict <> old.verdict OR new.hall_id <> old.hall_id BEGIN
    INSERT OR REPLACE INTO assembly_todo (talk_id)
      SELECT id FROM talk
      WHERE hall_id = new.hall_id AND start_ms < new.end_ms + 3600000 AND end_ms + extended_ms > new.start_ms - 3600000;
  END;

-- Whatever changes what should be taped is counted, so that no writer can forget to tell the daemon.
CREATE TRIGGER schedule_talk_added AFTER INSERT ON talk BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
CREATE TRIGGER schedule_talk_changed AFTER UPDATE ON talk BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
CREATE TRIGGER schedule_hall_added AFTER INSERT ON hall BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
CREATE TRIGGER schedule_hall_changed AFTER UPDATE ON hall BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
CREATE TRIGGER schedule_stream_added AFTER INSERT ON stream BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
CREATE TRIGGER schedule_stream_changed AFTER UPDATE ON stream BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
CREATE TRIGGER schedule_event_changed AFTER UPDATE OF time_zone, pre_padding_ms, post_padding_ms ON event
  BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
