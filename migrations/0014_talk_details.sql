-- What a schedule tells of a talk beside time and place.

ALTER TABLE talk ADD COLUMN details TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(details)); -- JSON object; texts: guid, code, id, room_guid, subtitle, summary, description, language, track, session_type, licence; links: list of {url, title}. What is not known is left out
