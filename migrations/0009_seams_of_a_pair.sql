-- Two mirrors with holes are changed between more than once: a pair of segments has a seam for each change.

CREATE TABLE seams (                                        -- where two segments meet that follow each other in a file
  first_id          INTEGER NOT NULL REFERENCES segment (id), -- the earlier segment
  second_id         INTEGER NOT NULL REFERENCES segment (id), -- the later segment
  seq               INTEGER NOT NULL,                       -- counts the seams of a pair in the order of the file, from 0
  kind              TEXT NOT NULL CHECK (kind IN ('overlap', 'gap', 'format')), -- format: they cannot share a file
  shift_ms          INTEGER NOT NULL,                       -- added to the second's clock to get the first's
  shared_ms         INTEGER NOT NULL CHECK (shared_ms >= 0), -- length of media that stands in both
  missing_ms        INTEGER NOT NULL CHECK (missing_ms >= 0), -- length of media that stands in neither
  matched_packets   INTEGER NOT NULL CHECK (matched_packets >= 0), -- how many packets of the two are equal
  method            TEXT NOT NULL,                          -- how it was found: packets, clock, arrival, none
  cuts              TEXT NOT NULL CHECK (json_valid(cuts)), -- JSON per track: last packet kept of the first, first packet kept of the second
  PRIMARY KEY (first_id, second_id, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO seams SELECT first_id, second_id, 0, kind, shift_ms, shared_ms, missing_ms, matched_packets, method, cuts FROM seam;
DROP TABLE seam;
ALTER TABLE seams RENAME TO seam;
