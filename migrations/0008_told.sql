-- Which joined files the user's hook has taken, so that those it has not taken yet are handed over after a restart.

ALTER TABLE assembly ADD COLUMN told_ms INTEGER; -- when notify.on_talk_done took this file; NULL: not yet. Where no hook is set, when the file was made

-- Until now a hook was run once, when the file was made: all that is there counts as taken.
UPDATE assembly SET told_ms = made_ms;
