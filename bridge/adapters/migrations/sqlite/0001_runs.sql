CREATE TABLE definitions (
  digest   TEXT PRIMARY KEY,
  document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id                  TEXT PRIMARY KEY,
  action              TEXT NOT NULL,
  definition_digest   TEXT NOT NULL REFERENCES definitions (digest),
  status              TEXT NOT NULL,
  attempt             INTEGER NOT NULL,
  caller              TEXT NOT NULL,
  user                TEXT,
  key                 TEXT NOT NULL,
  fingerprint         TEXT NOT NULL,
  input               TEXT NOT NULL,
  context             TEXT NOT NULL,
  target              TEXT NOT NULL,
  namespace           TEXT NOT NULL,
  workflow_name       TEXT NOT NULL,
  workflow_uid        TEXT,
  phase               TEXT,
  progress            TEXT,
  outputs             TEXT NOT NULL,
  entity_ref          TEXT,
  error               TEXT,
  state               TEXT NOT NULL,
  cancel_requested_by TEXT,
  cancel_requested_at TEXT,
  created_at          TEXT NOT NULL,
  updated_at          TEXT NOT NULL,
  finished_at         TEXT,
  last_seq            INTEGER NOT NULL,
  UNIQUE (caller, action, key, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_open ON runs (id) WHERE finished_at IS NULL;

CREATE TABLE events (
  run_id  TEXT NOT NULL REFERENCES runs (id),
  seq     INTEGER NOT NULL,
  time    TEXT NOT NULL,
  type    TEXT NOT NULL,
  level   TEXT NOT NULL,
  message TEXT NOT NULL,
  data    TEXT NOT NULL,
  PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE entities (
  kind       TEXT NOT NULL,
  namespace  TEXT NOT NULL,
  name       TEXT NOT NULL,
  document   TEXT NOT NULL,
  run_id     TEXT,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (kind, namespace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE namespaces (
  name       TEXT PRIMARY KEY,
  record     TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
