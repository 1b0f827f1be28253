-- Records of before have no hash; the chain begins with the next one.
ALTER TABLE audit
  ADD COLUMN source   json NOT NULL DEFAULT '{}',
  ADD COLUMN previous text COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN hash     text COLLATE "C" NOT NULL DEFAULT '',
  -- A number is a part of what the hash covers, so the writer gives it; without gaps.
  ALTER COLUMN number DROP IDENTITY;
