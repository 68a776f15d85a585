-- What is wrong with a refresh is part of what the daemon shows: it reads the schedule again where that changed.

CREATE TRIGGER schedule_event_refreshed AFTER UPDATE OF refresh_problem ON event WHEN old.refresh_problem IS NOT new.refresh_problem
  BEGIN UPDATE meta SET schedule_version = schedule_version + 1; END;
