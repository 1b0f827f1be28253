-- Records of before have no hash; the chain begins with the next one.
ALTER TABLE audit ADD COLUMN source   TEXT NOT NULL DEFAULT '{}';
ALTER TABLE audit ADD COLUMN previous TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN hash     TEXT NOT NULL DEFAULT '';
