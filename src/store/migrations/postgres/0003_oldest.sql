-- The oldest schema whose programs may work with this one: hosts are upgraded one after the other.
ALTER TABLE origo_adapter ADD COLUMN oldest bigint NOT NULL DEFAULT 3;
