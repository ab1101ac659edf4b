-- The key that a client chose for a request may hold words of its own. With a redaction it goes like the words: what
-- stays tells whether the same key is shown again, so that a request that is repeated is still done once.
CREATE FUNCTION ccn_hidden_key(conversation uuid, key text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE WHEN key ~ '^sha256:[0-9a-f]{64}$' THEN key
           ELSE 'sha256:' || encode(sha256(convert_to(conversation::text || ' ' || key, 'UTF8')), 'hex') END
$$;

-- As before, and a key may be hidden, by itself, once the turn's message is redacted.
CREATE OR REPLACE FUNCTION ccn_turn_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.idempotency_key IS DISTINCT FROM OLD.idempotency_key THEN
        IF NEW.idempotency_key IS DISTINCT FROM ccn_hidden_key(OLD.conversation_id, OLD.idempotency_key)
           OR to_jsonb(NEW) - 'idempotency_key' <> to_jsonb(OLD) - 'idempotency_key'
           OR NOT EXISTS (SELECT FROM redactions r WHERE r.conversation_id = OLD.conversation_id
                          AND OLD.user_seq BETWEEN r.first_seq AND r.last_seq) THEN
            RAISE EXCEPTION 'a turn keeps its key until it is redacted' USING ERRCODE = 'CCN04';
        END IF;
        RETURN NEW;
    END IF;
    IF NOT ((OLD.status = 'accepted' AND NEW.status IN ('accepted', 'running', 'failed', 'cancelled'))
         OR (OLD.status = 'running' AND NEW.status IN ('running', 'committed', 'failed', 'cancelled'))) THEN
        RAISE EXCEPTION 'a turn that is % cannot become %', OLD.status, NEW.status USING ERRCODE = 'CCN04';
    END IF;
    IF NEW.host_epoch < OLD.host_epoch OR NEW.attempt < OLD.attempt OR NEW.id <> OLD.id
       OR (NEW.conversation_id, NEW.user_seq, NEW.accepted_at) IS DISTINCT FROM
          (OLD.conversation_id, OLD.user_seq, OLD.accepted_at) THEN
        RAISE EXCEPTION 'a turn keeps its place and its epoch only grows' USING ERRCODE = 'CCN04';
    END IF;
    RETURN NEW;
END $$;

-- As before, and the key is hidden together with the words, or later if it was not.
CREATE OR REPLACE FUNCTION ccn_only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.content IS NOT NULL OR NEW.salt IS NOT NULL
       OR (NEW.conversation_id, NEW.seq, NEW.role, NEW.language, NEW.created_at, NEW.host_epoch, NEW.leaf_node,
           NEW.leaf_number, NEW.speaker, NEW.turn_id) IS DISTINCT FROM
          (OLD.conversation_id, OLD.seq, OLD.role, OLD.language, OLD.created_at, OLD.host_epoch, OLD.leaf_node,
           OLD.leaf_number, OLD.speaker, OLD.turn_id)
       OR NEW.idempotency_key IS DISTINCT FROM OLD.idempotency_key
          AND NEW.idempotency_key IS DISTINCT FROM ccn_hidden_key(OLD.conversation_id, OLD.idempotency_key) THEN
        RAISE EXCEPTION 'a message is never edited, only redacted' USING ERRCODE = 'CCN01';
    END IF;
    IF NOT EXISTS (SELECT FROM redactions r WHERE r.conversation_id = NEW.conversation_id
                   AND NEW.seq BETWEEN r.first_seq AND r.last_seq) THEN
        RAISE EXCEPTION 'content goes only with a redaction that says who and why' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;

-- Of what was redacted before.
UPDATE messages SET idempotency_key = ccn_hidden_key(conversation_id, idempotency_key)
WHERE content IS NULL AND idempotency_key IS NOT NULL;
UPDATE turns t SET idempotency_key = ccn_hidden_key(t.conversation_id, t.idempotency_key)
FROM messages m
WHERE m.conversation_id = t.conversation_id AND m.seq = t.user_seq AND m.content IS NULL
  AND t.idempotency_key IS NOT NULL AND t.idempotency_key <> ccn_hidden_key(t.conversation_id, t.idempotency_key);
