-- Texts that are compared or sorted are COLLATE "C": every store gives the same order.
CREATE TABLE definitions (
  digest   text COLLATE "C" PRIMARY KEY,
  document json NOT NULL
);

CREATE TABLE runs (
  id                  text COLLATE "C" PRIMARY KEY,
  action              text COLLATE "C" NOT NULL,
  definition_digest   text COLLATE "C" NOT NULL REFERENCES definitions (digest),
  status              text COLLATE "C" NOT NULL,
  attempt             integer NOT NULL,
  caller              text COLLATE "C" NOT NULL,
  "user"              text COLLATE "C",
  key                 text COLLATE "C" NOT NULL,
  fingerprint         text COLLATE "C" NOT NULL,
  input               json NOT NULL,
  context             json NOT NULL,
  target              text COLLATE "C" NOT NULL,
  namespace           text COLLATE "C" NOT NULL,
  workflow_name       text COLLATE "C" NOT NULL,
  workflow_uid        text COLLATE "C",
  phase               text COLLATE "C",
  progress            text COLLATE "C",
  outputs             json NOT NULL,
  entity_ref          text COLLATE "C",
  error               json,
  state               json NOT NULL,
  cancel_requested_by text COLLATE "C",
  cancel_requested_at timestamptz,
  created_at          timestamptz NOT NULL,
  updated_at          timestamptz NOT NULL,
  finished_at         timestamptz,
  last_seq            integer NOT NULL,
  lock                text COLLATE "C",
  holds_lock          boolean NOT NULL,
  owner               text COLLATE "C" NOT NULL,
  fence               integer NOT NULL,
  doubt_since         timestamptz,
  takes_over          text COLLATE "C",
  superseded_by       text COLLATE "C",
  -- Whether its events are down to the last one; kept by the store for itself.
  events_pruned       boolean NOT NULL DEFAULT false,
  UNIQUE (caller, action, key, attempt)
);

CREATE INDEX runs_open ON runs (id) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX runs_lock ON runs (lock) WHERE holds_lock AND finished_at IS NULL;
CREATE INDEX runs_lock_wanted ON runs (lock) WHERE lock IS NOT NULL AND finished_at IS NULL;
CREATE INDEX runs_finished ON runs (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_unpruned ON runs (finished_at, id) WHERE finished_at IS NOT NULL AND NOT events_pruned;
CREATE INDEX runs_definition ON runs (definition_digest);

CREATE TABLE events (
  run_id  text COLLATE "C" NOT NULL REFERENCES runs (id),
  seq     integer NOT NULL,
  time    timestamptz NOT NULL,
  type    text COLLATE "C" NOT NULL,
  level   text COLLATE "C" NOT NULL,
  message text COLLATE "C" NOT NULL,
  data    json NOT NULL,
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE commands (
  run_id     text COLLATE "C" NOT NULL REFERENCES runs (id),
  slot       text COLLATE "C" NOT NULL,
  number     integer NOT NULL,
  verb       text COLLATE "C" NOT NULL,
  "by"       text COLLATE "C" NOT NULL,
  at         timestamptz NOT NULL,
  gate       text COLLATE "C" NOT NULL,
  reason     text COLLATE "C" NOT NULL,
  outputs    json NOT NULL,
  outcome    text COLLATE "C",
  settled_at timestamptz,
  PRIMARY KEY (run_id, slot)
);

CREATE INDEX commands_unsettled ON commands (run_id) WHERE settled_at IS NULL;

CREATE TABLE readers (
  run_id text COLLATE "C" NOT NULL REFERENCES runs (id),
  reader text COLLATE "C" NOT NULL,
  seq    integer NOT NULL,
  PRIMARY KEY (run_id, reader)
);

CREATE TABLE leases (
  replica text COLLATE "C" PRIMARY KEY,
  until   timestamptz NOT NULL
);

CREATE TABLE audit (
  number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  time    timestamptz NOT NULL,
  action  text COLLATE "C" NOT NULL,
  caller  text COLLATE "C" NOT NULL,
  "user"  text COLLATE "C",
  run_id  text COLLATE "C",
  reason  text COLLATE "C" NOT NULL,
  outcome text COLLATE "C" NOT NULL,
  data    json NOT NULL
);

CREATE INDEX audit_run ON audit (run_id, number) WHERE run_id IS NOT NULL;

CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit records are never changed or removed';
END
$$;

CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();

CREATE TABLE entities (
  kind       text COLLATE "C" NOT NULL,
  namespace  text COLLATE "C" NOT NULL,
  name       text COLLATE "C" NOT NULL,
  document   json NOT NULL,
  run_id     text COLLATE "C",
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (kind, namespace, name)
);

CREATE TABLE namespaces (
  name       text COLLATE "C" PRIMARY KEY,
  record     json NOT NULL,
  updated_at timestamptz NOT NULL
);
