-- The last filter of a page of events that names one thing and had no index.
CREATE INDEX events_of_acs_user ON events (acs_user, created_at) WHERE acs_user IS NOT NULL;
