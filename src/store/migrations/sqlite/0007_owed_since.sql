-- Since when a lane owes the same, however often it was tried and put off: a withdrawal that does not come through is
-- told by its age.
ALTER TABLE effects ADD COLUMN owed_since INTEGER NOT NULL DEFAULT 0;
UPDATE effects SET owed_since = line;
CREATE INDEX effects_withdrawals ON effects (manager, owed_since) WHERE class IN ('withdrawal', 'removal');
