-- How to find again what was said. Parsing a text costs five times what keeping it does, so documents are made
-- just after the message was acknowledged, by whichever node gets to it; a search reads what is not there yet
-- directly from the messages.

-- Scripts without blanks between words (and punctuation the parser takes for letters) are set apart with
-- the unit separator, which the parser takes for a blank and which highlights drop again: a search for a
-- word then is a search for its characters in a row.
CREATE FUNCTION ccn_words(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT CASE WHEN octet_length(content) = length(content) THEN content ELSE
        regexp_replace(
            normalize(content, NFC),
            '([\u00A0-\u00BF\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u2000-\u206F\u2E80-\uA4CF\uAC00-\uD7AF\uF900-\uFAFF\uFE30-\uFE4F\uFF00-\uFFEF])',
            E'\x1f\\1\x1f', 'g')
    END
$$;
-- Immutable by decree: the named configurations are those PostgreSQL ships, and nobody edits them.
CREATE FUNCTION ccn_document(language text, content text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT to_tsvector(language::regconfig, left(ccn_words(content), 200000))
$$;

CREATE TABLE message_documents (
    conversation_id uuid   NOT NULL,
    seq             bigint NOT NULL,
    language        text   NOT NULL,
    document        tsvector NOT NULL,
    number          bigint GENERATED ALWAYS AS IDENTITY,  -- about as old as its message: newer ones are higher
    PRIMARY KEY (conversation_id, seq)
);
CREATE INDEX message_documents_words ON message_documents USING gin (document);
CREATE INDEX message_documents_age ON message_documents (number);

-- How far each node's messages have documents, by the gapless numbers of its leaves.
CREATE TABLE document_progress (
    node_id text PRIMARY KEY REFERENCES leaf_sources,
    upto    bigint NOT NULL
) WITH (fillfactor = 50);

-- The languages something was said in: a search without a language asks in each of them.
CREATE TABLE document_languages (language text PRIMARY KEY);

-- Redacted words leave the index in the same transaction. Waiting for whoever indexes this node's messages,
-- and keeping everybody from beginning to, makes sure that no document is made from content that is just going.
CREATE FUNCTION ccn_forget_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO document_progress VALUES (NEW.leaf_node, 0) ON CONFLICT DO NOTHING;
    PERFORM FROM document_progress WHERE node_id = NEW.leaf_node FOR UPDATE;
    DELETE FROM message_documents d WHERE d.conversation_id = NEW.conversation_id AND d.seq = NEW.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_forget_document AFTER UPDATE OF content ON messages
    FOR EACH ROW EXECUTE FUNCTION ccn_forget_document();
