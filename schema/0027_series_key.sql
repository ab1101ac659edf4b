-- What turns a conversation's id into the name of its series, which anybody may see who scrapes a node. All nodes
-- have the same key, so that a conversation keeps its name where it moves to; nobody else has it.
CREATE TABLE series_key (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    secret    bytea NOT NULL DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
              CHECK (length(secret) = 32)
);
INSERT INTO series_key DEFAULT VALUES;
CREATE TRIGGER series_key_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON series_key
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
