-- Which rendition of a hall's HLS streams is recorded.

ALTER TABLE hall ADD COLUMN quality TEXT CHECK (quality <> ''); -- best, worst, audio or a height such as 1080p (src/domain/hls.rs); NULL: the setting
