-- A list of streams is of strangers, though a command of the user brought it: what its names lead to is looked at when they are opened.

ALTER TABLE stream ADD COLUMN public_only INTEGER NOT NULL DEFAULT 0 CHECK (public_only IN (0, 1)); -- 1: whoever named it, it must not lead to this machine or into a private network
