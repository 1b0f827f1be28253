-- What open runs were given in secret fields, sealed; it goes with the end of the run.
CREATE TABLE secrets (
  run_id TEXT PRIMARY KEY REFERENCES runs (id),
  sealed TEXT NOT NULL
) STRICT, WITHOUT ROWID;
