-- Mirrors taped at the same time, packets from the middle of segments, and what came from other recorders.

ALTER TABLE hall ADD COLUMN redundancy INTEGER CHECK (redundancy BETWEEN 1 AND 2); -- mirrors taped at the same time; NULL: the setting

CREATE TABLE media_window (                                 -- packets around an instant inside a segment, where another mirror's segment ends or begins; made when an assembly first asks, can be made anew
  segment_id        INTEGER NOT NULL REFERENCES segment (id), -- the segment
  from_ms           INTEGER NOT NULL,                       -- first instant, in the segment's own clock
  to_ms             INTEGER NOT NULL CHECK (to_ms > from_ms), -- first instant after, same clock
  format            INTEGER NOT NULL,                       -- version of data
  data              BLOB NOT NULL,                          -- packets and their numbers; see catalog/media_index.rs
  PRIMARY KEY (segment_id, from_ms)
) STRICT, WITHOUT ROWID;

ALTER TABLE assembly_part ADD COLUMN wall_start_ms INTEGER;  -- the wall time that it holds, first instant; NULL where not used, or made before this was kept
ALTER TABLE assembly_part ADD COLUMN wall_end_ms INTEGER;    -- likewise, first instant after

CREATE TABLE merge (                                        -- segments taken over from another recorder
  id                INTEGER PRIMARY KEY,                    -- row id
  at_ms             INTEGER NOT NULL,                       -- when
  data_dir          TEXT NOT NULL                           -- absolute path of the other recorder's data directory, as it was then
) STRICT;

CREATE TABLE merged_segment (                               -- where a segment came from that another recorder taped
  segment_id        INTEGER PRIMARY KEY REFERENCES segment (id), -- the segment; it and its connection have the other's UUIDs
  merge_id          INTEGER NOT NULL REFERENCES merge (id), -- when and from where
  path              TEXT NOT NULL,                          -- its path in the other data directory
  clock_ms          INTEGER NOT NULL,                       -- our clock less the other's: was added to all its times
  shared_packets    INTEGER NOT NULL CHECK (shared_packets >= 0) -- equal packets that this difference was taken from; 0: none, the clocks were trusted
) STRICT;
CREATE INDEX merged_segment_by_merge ON merged_segment (merge_id);

ALTER TABLE daemon_run ADD COLUMN merge_id INTEGER REFERENCES merge (id); -- of another recorder, taken over then: it was not alive here; NULL: ours
