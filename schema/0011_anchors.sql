-- What the prompts of a conversation hold fast, so that every node builds the same bytes. Numbers and places only:
-- words are read from the messages, so that a redaction reaches every prompt.
CREATE TABLE prompt_anchors (
    conversation_id uuid    NOT NULL REFERENCES conversations,
    version         integer NOT NULL CHECK (version > 0),
    plate_version   integer NOT NULL CHECK (plate_version > 0),
    kept_from       bigint  NOT NULL CHECK (kept_from > 0),
    shown           jsonb   NOT NULL CHECK (octet_length(shown::text) <= 10000),
    host_epoch      bigint  NOT NULL,
    kept_at         timestamptz NOT NULL,
    previous        integer GENERATED ALWAYS AS (nullif(version, 1) - 1) STORED,
    PRIMARY KEY (conversation_id, version),
    FOREIGN KEY (conversation_id, previous) REFERENCES prompt_anchors
);
CREATE FUNCTION ccn_anchor_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The lock makes an adoption wait, or makes this wait for the adoption and then see its epoch.
    PERFORM FROM conversations WHERE id = NEW.conversation_id AND host_epoch = NEW.host_epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an anchor is set under the epoch of the conversation''s host' USING ERRCODE = 'CCN04';
    END IF;
    IF NEW.version > 1 AND NEW.kept_from < (SELECT kept_from FROM prompt_anchors
                                            WHERE conversation_id = NEW.conversation_id AND version = NEW.version - 1) THEN
        RAISE EXCEPTION 'what a history left behind does not come back' USING ERRCODE = 'CCN03';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER prompt_anchors_follow BEFORE INSERT ON prompt_anchors
    FOR EACH ROW EXECUTE FUNCTION ccn_anchor_follows();
CREATE TRIGGER prompt_anchors_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON prompt_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- The last conversations with one person, for the memory of the next one.
CREATE INDEX conversations_memory ON conversations (character_id, owner_id, created_at DESC, id DESC)
    WHERE owner_id IS NOT NULL;
