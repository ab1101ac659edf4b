-- Whole states at a moment, and what was spent.

-- The canonical bytes of a conversation's state without its content: versions, counts, vectors, and the leaf
-- of the last message. Its hash is in the ledger.
CREATE TABLE snapshots (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations,
    taken_at        timestamptz NOT NULL,
    head_seq        bigint NOT NULL CHECK (head_seq >= 0),
    state           bytea NOT NULL,
    hash            bytea NOT NULL CHECK (hash = sha256(state)),
    leaf_node       text NOT NULL,
    leaf_number     bigint NOT NULL,
    UNIQUE (conversation_id, taken_at),
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
CREATE TRIGGER snapshots_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON snapshots
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- Money is counted in whole millionths of a dollar, so that sums are exact.
CREATE TABLE usage (
    day                date   NOT NULL,
    character_id       text   NOT NULL REFERENCES characters,
    conversation_id    uuid   REFERENCES conversations,  -- none for calls that belong to none
    model              text   NOT NULL,
    calls              bigint NOT NULL DEFAULT 0 CHECK (calls >= 0),
    input_tokens       bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens      bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cache_read_tokens  bigint NOT NULL DEFAULT 0 CHECK (cache_read_tokens >= 0),
    cache_write_tokens bigint NOT NULL DEFAULT 0 CHECK (cache_write_tokens >= 0),
    cost_microdollars  bigint NOT NULL DEFAULT 0 CHECK (cost_microdollars >= 0),
    UNIQUE NULLS NOT DISTINCT (day, conversation_id, model, character_id)
);
CREATE INDEX usage_character ON usage (character_id, day);
