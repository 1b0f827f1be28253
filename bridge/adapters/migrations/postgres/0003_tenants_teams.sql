ALTER TABLE runs ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE runs ADD COLUMN team   text COLLATE "C";

-- One index for each way to see a run: a page of runs is then read, not looked for.
CREATE INDEX runs_of_tenant ON runs (tenant, id);
CREATE INDEX runs_of_caller ON runs (tenant, caller, id);
CREATE INDEX runs_of_user   ON runs (tenant, lower("user"), id);
CREATE INDEX runs_of_team   ON runs (tenant, team, id) WHERE team IS NOT NULL;
CREATE INDEX runs_of_action ON runs (tenant, action, id);

ALTER TABLE audit ADD COLUMN tenant text COLLATE "C" NOT NULL DEFAULT 'default';
