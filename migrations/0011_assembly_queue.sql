-- The program itself puts talks into the assembly queue when a segment in their window changes: a window is as long as its
-- padding, which a trigger does not know.

DROP TRIGGER todo_segment_changed;

ALTER TABLE meta ADD COLUMN pre_padding_ms INTEGER;  -- padding before the slots of talks whose event names none, as the daemon's settings have it, milliseconds; NULL: the program's default
ALTER TABLE meta ADD COLUMN post_padding_ms INTEGER; -- padding after them
