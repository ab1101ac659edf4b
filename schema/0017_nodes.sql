-- Who may be a node. etcd shows who is here, and is believed only for what a key of this register has signed; those
-- that vote have theirs in the chain, which comes before this.

-- What registrations name, so that those of another cluster do not count here. It is known before the founding.
CREATE TABLE cluster_identity (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id        uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO cluster_identity DEFAULT VALUES;
CREATE TRIGGER cluster_identity_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON cluster_identity
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- A life begins when a node enrols, and only the newest counts: nobody can show again what an earlier one signed.
CREATE TABLE nodes (
    node_id     text PRIMARY KEY CHECK (node_id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    key         bytea NOT NULL CHECK (length(key) = 32),
    life        uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at  timestamptz
);
CREATE FUNCTION ccn_node_lives() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.node_id <> OLD.node_id OR NEW.key <> OLD.key AND NEW.life = OLD.life THEN
        RAISE EXCEPTION 'another key is another life of a node' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER nodes_live BEFORE UPDATE ON nodes FOR EACH ROW EXECUTE FUNCTION ccn_node_lives();
CREATE TRIGGER nodes_stay BEFORE DELETE OR TRUNCATE ON nodes
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- Whoever voted and does not any more is out, and whoever is voted in is in, with the block that says so.
CREATE FUNCTION ccn_validators_of(listed bytea) RETURNS TABLE (node_id text, key bytea) LANGUAGE sql IMMUTABLE AS $$
    SELECT each ->> 0, decode(each ->> 1, 'hex')
    FROM jsonb_array_elements(convert_from(listed, 'UTF8')::jsonb -> 'validators') AS each
$$;
CREATE FUNCTION ccn_validators_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE nodes SET removed_at = NULL
    WHERE removed_at IS NOT NULL AND node_id IN (SELECT node_id FROM ccn_validators_of(NEW.validators));
    INSERT INTO nodes (node_id, key, removed_at)
    SELECT gone.node_id, gone.key, clock_timestamp()
    FROM (SELECT validators FROM block_rules WHERE height < NEW.height ORDER BY height DESC LIMIT 1) before,
         ccn_validators_of(before.validators) gone
    WHERE gone.node_id NOT IN (SELECT node_id FROM ccn_validators_of(NEW.validators))
    ON CONFLICT (node_id) DO UPDATE SET removed_at = EXCLUDED.removed_at;
    RETURN NULL;
END $$;
CREATE TRIGGER block_rules_change AFTER INSERT ON block_rules
    FOR EACH ROW EXECUTE FUNCTION ccn_validators_change();

-- Of a cluster that ran before there was a register: who was removed, with the key that was voted with last.
INSERT INTO nodes (node_id, key, removed_at)
SELECT DISTINCT ON (v.node_id) v.node_id, v.key, clock_timestamp()
FROM block_rules r, ccn_validators_of(r.validators) v
WHERE v.node_id NOT IN (
    SELECT node_id FROM ccn_validators_of((SELECT validators FROM block_rules ORDER BY height DESC LIMIT 1)))
ORDER BY v.node_id, r.height DESC;
