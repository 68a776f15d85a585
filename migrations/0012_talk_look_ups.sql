-- A hall of thousands of talks is listed without looking at each talk for each other one.

-- Slots in which nothing may be recorded, which every talk of the hall is compared with.
CREATE INDEX talk_forbidden ON talk (hall_id, start_ms) WHERE opted_out = 1 AND status = 'scheduled';
