-- What is said of a talk is what its tracks have: where each track of a segment has media, and where each track of a joined
-- file presents it.
CREATE TABLE track_stretch (                                -- a stretch of one track of a segment without a hole
  segment_id        INTEGER NOT NULL REFERENCES segment (id), -- the segment
  seq               INTEGER NOT NULL,                       -- order: by track, then time, from 0
  track             INTEGER NOT NULL,                       -- number of the track in the segment, from 1
  kind              TEXT NOT NULL CHECK (kind IN ('video', 'audio')), -- what the track carries
  start_ms          INTEGER NOT NULL,                       -- first presentation time in the segment's own clock
  end_ms            INTEGER NOT NULL CHECK (end_ms >= start_ms), -- end of the last packet, same clock
  keyframe_ms       INTEGER,                                -- presentation time of its first keyframe; NULL: none, or audio
  PRIMARY KEY (segment_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE presented (                                    -- a stretch of one track of a joined file, as found in the finished file
  assembly_id       INTEGER NOT NULL REFERENCES assembly (id), -- the file
  seq               INTEGER NOT NULL,                       -- order: by track, then time, from 0
  track             INTEGER NOT NULL,                       -- number of the track in the file, from 1
  kind              TEXT NOT NULL CHECK (kind IN ('video', 'audio')), -- what the track carries
  out_start_ms      INTEGER NOT NULL,                       -- where it begins in the file, from its start
  out_end_ms        INTEGER NOT NULL CHECK (out_end_ms >= out_start_ms), -- where it ends there
  wall_start_ms     INTEGER NOT NULL,                       -- wall time of its begin
  wall_end_ms       INTEGER NOT NULL CHECK (wall_end_ms >= wall_start_ms), -- wall time of its end
  PRIMARY KEY (assembly_id, seq)
) STRICT, WITHOUT ROWID;
ALTER TABLE assembly ADD COLUMN checked_ms INTEGER;         -- when the finished file was read to its end and decoded at its seams; NULL: never
