-- What is known of how a character usually scores, and what was done about instances that no longer do.

-- The raw scores a baseline was learnt from; what follows from them is computed anew, from the same seed to the
-- same figures. A baseline holds for one scorer and one model: another version of either makes it void.
CREATE TABLE character_baselines (
    character_id  text NOT NULL REFERENCES characters,
    kind          text NOT NULL CHECK (kind IN ('messages', 'probes')),
    scorer        text NOT NULL CHECK (scorer <> ''),
    model         text NOT NULL CHECK (model <> ''),
    made_at       timestamptz NOT NULL,
    plate_version integer NOT NULL,
    seed          bigint NOT NULL,
    scores        bytea NOT NULL CHECK (length(scores) > 0 AND length(scores) % 64 = 0),  -- rows of 16 int32, -1 unseen
    PRIMARY KEY (character_id, kind, scorer, model, made_at),
    FOREIGN KEY (character_id, plate_version) REFERENCES plates
);
CREATE TRIGGER character_baselines_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON character_baselines
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- Each step of the ladder with the figures that led to it. What became of the instance is sealed in its lives.
CREATE TABLE restorations (
    instance_id uuid NOT NULL REFERENCES instance_registry,
    number      integer NOT NULL CHECK (number > 0),
    at          timestamptz NOT NULL,
    step        text NOT NULL CHECK (step IN ('note', 're-anchor', 're-initialise', 'quarantine', 'cleared', 'released')),
    reason      text NOT NULL CHECK (reason <> ''),
    by          text NOT NULL,
    distance    double precision CHECK (distance <> 'NaN'),
    threshold   double precision CHECK (threshold <> 'NaN'),
    PRIMARY KEY (instance_id, number)
);
CREATE INDEX restorations_at ON restorations (at);
CREATE TRIGGER restorations_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON restorations
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
