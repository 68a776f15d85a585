-- What the user wants to be said when a stream is asked for.
ALTER TABLE stream ADD COLUMN request TEXT CHECK (json_valid(request)); -- JSON {"user_agent": text, "headers": {name: text}}; NULL: nothing special. Values may be secret: never printed
