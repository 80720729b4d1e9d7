-- Since when a lane owes the same, however often it was tried and put off: what does not come through is told by its
-- age.
ALTER TABLE effects ADD COLUMN owed_since INTEGER NOT NULL DEFAULT 0;
UPDATE effects SET owed_since = line;
CREATE INDEX effects_oldest ON effects (manager, class, owed_since) WHERE class IN ('withdrawal', 'removal', 'import');
