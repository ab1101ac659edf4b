-- Access tokens are signed by nodes, each with a key of its own that never leaves its process. Here are the public
-- halves, under a signature of the key that the node votes with. Nodes believe what a validator has signed and
-- nothing else in this table, so whoever reads the database can sign nothing, and whoever writes it adds no key.
--
-- The secrets that signed tokens until now end with this table: a client renews, or signs in again.
DROP TABLE token_keys;
DROP FUNCTION ccn_note_rotation();

CREATE TABLE token_keys (
    name       text PRIMARY KEY CHECK (name = left(encode(sha256(public_key), 'hex'), 16)),
    node_id    text NOT NULL CHECK (node_id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    since      timestamptz NOT NULL,
    until      timestamptz NOT NULL CHECK (until > since AND until < since + interval '4 days'),
    signature  bytea NOT NULL CHECK (length(signature) = 64),
    -- From when on nothing counts that it signed, although its time is not over; its node makes another one.
    ended_at   timestamptz
);
CREATE INDEX token_keys_until ON token_keys (until);

CREATE TRIGGER token_keys_ended_once BEFORE UPDATE ON token_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_ended_once('ended_at');

CREATE FUNCTION ccn_token_key_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'ended_at' <> to_jsonb(OLD) - 'ended_at' THEN
        RAISE EXCEPTION 'a key that signs tokens can only be ended' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER token_keys_stay BEFORE UPDATE ON token_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_token_key_stays();

-- Nodes make keys by themselves, and nobody decided anything; ending one before its time is an operator's doing.
CREATE FUNCTION ccn_note_token_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.ended_at IS DISTINCT FROM OLD.ended_at THEN
        PERFORM ccn_note_account('end token key', jsonb_build_object(
            'key', NEW.name, 'node', NEW.node_id,
            'until', to_char(NEW.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER token_keys_note AFTER UPDATE ON token_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_note_token_key();
