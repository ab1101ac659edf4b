-- Who said what: an account, or an instance that was asked for a reply. Messages from before name nobody.

ALTER TABLE messages ADD COLUMN speaker text;

-- Not valid for what was said before, which has no speaker and keeps its words until they are redacted.
ALTER TABLE messages
    ADD CONSTRAINT messages_have_speakers CHECK (speaker IS NOT NULL OR content IS NULL) NOT VALID,
    ADD CONSTRAINT messages_speakers CHECK (
        speaker ~ '^(account|instance):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') NOT VALID,
    -- What an instance says is the reply of a turn, and no other reply is an instance's.
    ADD CONSTRAINT messages_of_instances CHECK (
        (speaker LIKE 'instance:%') = (role = 'assistant' AND turn_id IS NOT NULL)) NOT VALID;

CREATE OR REPLACE FUNCTION ccn_only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.content IS NOT NULL OR NEW.salt IS NOT NULL
       OR (NEW.conversation_id, NEW.seq, NEW.role, NEW.language, NEW.created_at, NEW.host_epoch, NEW.leaf_node,
           NEW.leaf_number) IS DISTINCT FROM
          (OLD.conversation_id, OLD.seq, OLD.role, OLD.language, OLD.created_at, OLD.host_epoch, OLD.leaf_node,
           OLD.leaf_number)
       OR (NEW.speaker, NEW.turn_id, NEW.idempotency_key) IS DISTINCT FROM
          (OLD.speaker, OLD.turn_id, OLD.idempotency_key) THEN
        RAISE EXCEPTION 'a message is never edited, only redacted' USING ERRCODE = 'CCN01';
    END IF;
    IF NOT EXISTS (SELECT FROM redactions r WHERE r.conversation_id = NEW.conversation_id
                   AND NEW.seq BETWEEN r.first_seq AND r.last_seq) THEN
        RAISE EXCEPTION 'content goes only with a redaction that says who and why' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;

-- As before, and with speakers.
DROP FUNCTION ccn_turns;
CREATE FUNCTION ccn_turns(
    node text, leaf_head bigint, leaf_kinds text[], leaf_bodies bytea[],
    said_in uuid[], said_seqs bigint[], said_roles text[], said_contents text[], said_salts bytea[],
    said_speakers text[], said_languages text[], said_ats timestamptz[], said_turns uuid[], said_epochs bigint[],
    said_keys text[], said_leaves bigint[],
    accept_ids uuid[], accept_in uuid[], accept_keys text[], accept_seqs bigint[], accept_epochs bigint[],
    accept_ats timestamptz[], accept_begun boolean[],
    start_ids uuid[], start_epochs bigint[], start_ats timestamptz[],
    told_in uuid[], told_numbers bigint[], told_kinds text[], told_data text[], told_epochs bigint[],
    told_ats timestamptz[],
    end_ids uuid[], end_epochs bigint[], end_statuses text[], end_replies bigint[], end_errors text[],
    end_ats timestamptz[], end_nodes text[], end_leaves bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE touched bigint;
BEGIN
    IF cardinality(leaf_kinds) > 0 THEN
        INSERT INTO leaves (node_id, number, kind, body)
        SELECT node, leaf_head + nth, new.kind, new.body
        FROM unnest(leaf_kinds, leaf_bodies) WITH ORDINALITY AS new (kind, body, nth);
    END IF;
    IF cardinality(said_in) > 0 THEN
        INSERT INTO messages (leaf_node, conversation_id, seq, role, content, salt, speaker, language,
                              created_at, turn_id, host_epoch, idempotency_key, leaf_number)
        SELECT node, * FROM unnest(said_in, said_seqs, said_roles, said_contents, said_salts, said_speakers,
                                   said_languages, said_ats, said_turns, said_epochs, said_keys, said_leaves);
    END IF;
    IF cardinality(accept_ids) > 0 THEN
        INSERT INTO turns (id, conversation_id, idempotency_key, user_seq, host_epoch, accepted_at, status,
                           attempt, started_at)
        SELECT new.id, new.here, new.key, new.seq, new.epoch, new.at,
               CASE WHEN new.begun THEN 'running' ELSE 'accepted' END, new.begun::integer,
               CASE WHEN new.begun THEN new.at END
        FROM unnest(accept_ids, accept_in, accept_keys, accept_seqs, accept_epochs, accept_ats, accept_begun)
             AS new (id, here, key, seq, epoch, at, begun);
    END IF;
    IF cardinality(start_ids) > 0 THEN
        UPDATE turns t
        SET status = 'running', attempt = attempt + 1, started_at = coalesce(t.started_at, s.at)
        FROM unnest(start_ids, start_epochs, start_ats) AS s (id, epoch, at)
        WHERE t.id = s.id AND t.host_epoch = s.epoch AND t.status IN ('accepted', 'running');
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(start_ids) THEN
            RAISE EXCEPTION 'a turn was changed by somebody else meanwhile' USING ERRCODE = 'CCN03';
        END IF;
    END IF;
    IF cardinality(told_in) > 0 THEN
        INSERT INTO turn_events (turn_id, number, kind, data, host_epoch, at)
        SELECT * FROM unnest(told_in, told_numbers, told_kinds, told_data, told_epochs, told_ats);
    END IF;
    IF cardinality(end_ids) > 0 THEN
        UPDATE turns t
        SET status = e.status, reply_seq = e.reply, error = e.error, ended_at = e.at, leaf_node = e.node,
            leaf_number = e.leaf
        FROM unnest(end_ids, end_epochs, end_statuses, end_replies, end_errors, end_ats, end_nodes, end_leaves)
             AS e (id, epoch, status, reply, error, at, node, leaf)
        WHERE t.id = e.id AND t.host_epoch = e.epoch AND t.status IN ('accepted', 'running');
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(end_ids) THEN
            RAISE EXCEPTION 'a turn was changed by somebody else meanwhile' USING ERRCODE = 'CCN03';
        END IF;
    END IF;
END $$;
