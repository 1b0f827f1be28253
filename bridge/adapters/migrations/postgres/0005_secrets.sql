-- What open runs were given in secret fields, sealed; it goes with the end of the run.
CREATE TABLE secrets (
  run_id text COLLATE "C" PRIMARY KEY REFERENCES runs (id),
  sealed text NOT NULL
);
