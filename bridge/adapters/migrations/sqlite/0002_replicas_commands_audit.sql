ALTER TABLE runs ADD COLUMN lock          TEXT;
ALTER TABLE runs ADD COLUMN holds_lock    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN owner         TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN fence         INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN doubt_since   TEXT;
ALTER TABLE runs ADD COLUMN takes_over    TEXT;
ALTER TABLE runs ADD COLUMN superseded_by TEXT;
-- Whether its events are down to the last one; kept by the store for itself.
ALTER TABLE runs ADD COLUMN events_pruned INTEGER NOT NULL DEFAULT 0;

CREATE UNIQUE INDEX runs_lock ON runs (lock) WHERE holds_lock AND finished_at IS NULL;
CREATE INDEX runs_lock_wanted ON runs (lock) WHERE lock IS NOT NULL AND finished_at IS NULL;
CREATE INDEX runs_finished ON runs (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_unpruned ON runs (finished_at, id) WHERE finished_at IS NOT NULL AND NOT events_pruned;
CREATE INDEX runs_definition ON runs (definition_digest);

CREATE TABLE commands (
  run_id     TEXT NOT NULL REFERENCES runs (id),
  slot       TEXT NOT NULL,
  number     INTEGER NOT NULL,
  verb       TEXT NOT NULL,
  "by"       TEXT NOT NULL,
  at         TEXT NOT NULL,
  gate       TEXT NOT NULL,
  reason     TEXT NOT NULL,
  outputs    TEXT NOT NULL,
  outcome    TEXT,
  settled_at TEXT,
  PRIMARY KEY (run_id, slot)
) STRICT, WITHOUT ROWID;

CREATE INDEX commands_unsettled ON commands (run_id) WHERE settled_at IS NULL;

CREATE TABLE readers (
  run_id TEXT NOT NULL REFERENCES runs (id),
  reader TEXT NOT NULL,
  seq    INTEGER NOT NULL,
  PRIMARY KEY (run_id, reader)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  number  INTEGER PRIMARY KEY,
  time    TEXT NOT NULL,
  action  TEXT NOT NULL,
  caller  TEXT NOT NULL,
  user    TEXT,
  run_id  TEXT,
  reason  TEXT NOT NULL,
  outcome TEXT NOT NULL,
  data    TEXT NOT NULL
) STRICT;

CREATE INDEX audit_run ON audit (run_id) WHERE run_id IS NOT NULL;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;

CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit records are never removed'); END;
