-- Conversations that are alive, and on which node. A node dies; the instance is adopted under the next epoch.

CREATE TABLE instance_registry (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations,
    character_id    text NOT NULL REFERENCES characters,
    host            text NOT NULL,
    epoch           bigint NOT NULL CHECK (epoch > 0),
    status          text NOT NULL
        CHECK (status IN ('spawning', 'running', 'restoring', 'quarantined', 'terminated', 'failed')),
    model           text NOT NULL,
    plate_version   integer NOT NULL,
    heartbeat_at    timestamptz NOT NULL,
    drift           real CHECK (drift BETWEEN 0 AND 1),
    validation      jsonb,
    spawned_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    version         integer NOT NULL DEFAULT 1,
    CHECK ((status IN ('terminated', 'failed')) = (ended_at IS NOT NULL)),
    FOREIGN KEY (character_id, plate_version) REFERENCES plates
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX instance_registry_one_alive ON instance_registry (conversation_id) WHERE ended_at IS NULL;
CREATE INDEX instance_registry_host ON instance_registry (host) WHERE ended_at IS NULL;

-- One row for everything that ever happened to an instance, each with its leaf. Heartbeats are not history.
CREATE TABLE instance_lives (
    instance_id uuid NOT NULL REFERENCES instance_registry,
    version     integer NOT NULL,
    at          timestamptz NOT NULL,
    host        text NOT NULL,
    epoch       bigint NOT NULL,
    status      text NOT NULL,
    reason      text NOT NULL,
    leaf_node   text NOT NULL,
    leaf_number bigint NOT NULL,
    previous    integer GENERATED ALWAYS AS (nullif(version, 1) - 1) STORED,
    PRIMARY KEY (instance_id, version),
    FOREIGN KEY (instance_id, previous) REFERENCES instance_lives,
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
CREATE TRIGGER instance_lives_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON instance_lives
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
ALTER TABLE instance_registry ADD FOREIGN KEY (id, version) REFERENCES instance_lives DEFERRABLE INITIALLY DEFERRED;

-- The conversation carries its host's epoch, so that one update checks order and fence together. Epochs of a
-- conversation only grow, over all the instances it ever had.
CREATE FUNCTION ccn_host_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.ended_at IS NOT NULL THEN
            RAISE EXCEPTION 'an instance that ended stays ended' USING ERRCODE = 'CCN04';
        END IF;
        IF NEW.conversation_id <> OLD.conversation_id
           OR NEW.version <> OLD.version + 1 AND (NEW.version, NEW.host, NEW.epoch, NEW.status)
                                              <> (OLD.version, OLD.host, OLD.epoch, OLD.status) THEN
            RAISE EXCEPTION 'whatever becomes of an instance is its next version' USING ERRCODE = 'CCN03';
        END IF;
        IF NEW.epoch < OLD.epoch OR (NEW.host <> OLD.host AND NEW.epoch = OLD.epoch) THEN
            RAISE EXCEPTION 'another host needs a later epoch' USING ERRCODE = 'CCN04';
        END IF;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.epoch <> OLD.epoch THEN
        UPDATE conversations SET host_epoch = NEW.epoch WHERE id = NEW.conversation_id AND host_epoch < NEW.epoch;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a host needs a later epoch than every host before it' USING ERRCODE = 'CCN04';
        END IF;
        -- Unfinished turns move along: from here on the host before can neither stream into them nor end them.
        UPDATE turns SET host_epoch = NEW.epoch
        WHERE conversation_id = NEW.conversation_id AND status IN ('accepted', 'running');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER instance_registry_host_moves BEFORE INSERT OR UPDATE ON instance_registry
    FOR EACH ROW EXECUTE FUNCTION ccn_host_moves();
CREATE TRIGGER instance_registry_stay BEFORE DELETE OR TRUNCATE ON instance_registry
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
