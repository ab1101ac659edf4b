-- What was said, in order, without gaps; what became of it; and how to find it again.

CREATE DOMAIN ccn_title AS text CHECK (length(VALUE) <= 500);
CREATE DOMAIN ccn_conversation_status AS text CHECK (VALUE IN ('open', 'closed'));
CREATE DOMAIN ccn_role AS text CHECK (VALUE IN ('user', 'assistant'));
CREATE DOMAIN ccn_content AS text CHECK (VALUE <> '' AND length(VALUE) <= 1000000);
CREATE DOMAIN ccn_salt AS bytea CHECK (length(VALUE) = 32);
CREATE DOMAIN ccn_idempotency_key AS text CHECK (length(VALUE) BETWEEN 1 AND 255);

CREATE TABLE conversations (
    id            uuid PRIMARY KEY,
    character_id  text NOT NULL REFERENCES characters,
    owner_id      uuid REFERENCES users,
    plate_version integer,
    title         ccn_title NOT NULL DEFAULT '',
    status        ccn_conversation_status NOT NULL DEFAULT 'open',
    created_at    timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    version       integer NOT NULL DEFAULT 1,
    -- The head moves with every message, by compare-and-swap inside the trigger below.
    head_seq      ccn_count NOT NULL DEFAULT 0,
    head_at       timestamptz NOT NULL DEFAULT '-infinity',
    -- The host epoch: whoever writes under an older one is refused by the same compare-and-swap.
    host_epoch    ccn_count NOT NULL DEFAULT 0,
    FOREIGN KEY (character_id, plate_version) REFERENCES plates
) WITH (fillfactor = 70);
CREATE INDEX conversations_owner ON conversations (owner_id, created_at DESC);
CREATE INDEX conversations_character ON conversations (character_id, created_at DESC);

-- Every version a conversation ever had, for questions about the past.
CREATE TABLE conversation_versions (
    conversation_id uuid NOT NULL REFERENCES conversations,
    version         integer NOT NULL,
    changed_at      timestamptz NOT NULL,
    plate_version   integer,
    status          text NOT NULL,
    PRIMARY KEY (conversation_id, version)
);
CREATE FUNCTION ccn_conversation_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.version <> OLD.version + 1 OR NEW.changed_at < OLD.changed_at) THEN
        RAISE EXCEPTION 'a change makes the next version, not an earlier one' USING ERRCODE = 'CCN03';
    END IF;
    INSERT INTO conversation_versions
    VALUES (NEW.id, NEW.version, NEW.changed_at, NEW.plate_version, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER conversations_born AFTER INSERT ON conversations
    FOR EACH ROW EXECUTE FUNCTION ccn_conversation_version();
CREATE TRIGGER conversations_changed AFTER UPDATE OF plate_version, status, version ON conversations
    FOR EACH ROW EXECUTE FUNCTION ccn_conversation_version();
CREATE TRIGGER conversation_versions_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON conversation_versions
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- Every epoch a conversation ever had was smaller than the one it has. This trigger and the next one come after
-- the update: one before it, even on other columns, would have the row locked each time its head moves.
CREATE FUNCTION ccn_epoch_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.host_epoch < OLD.host_epoch THEN
        RAISE EXCEPTION 'the epoch of a conversation only grows' USING ERRCODE = 'CCN04';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER conversations_epoch_grows AFTER UPDATE OF host_epoch ON conversations
    FOR EACH ROW EXECUTE FUNCTION ccn_epoch_grows();

-- Whose a conversation is, and with whom, is said once: nodes remember it.
CREATE TRIGGER conversations_stay_theirs AFTER UPDATE OF id, owner_id, character_id, created_at ON conversations
    FOR EACH ROW WHEN ((OLD.id, OLD.owner_id, OLD.character_id, OLD.created_at)
                       IS DISTINCT FROM (NEW.id, NEW.owner_id, NEW.character_id, NEW.created_at))
    EXECUTE FUNCTION ccn_refuse_change();

CREATE TABLE turns (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations,
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    status          text NOT NULL CHECK (status IN ('accepted', 'running', 'committed', 'failed', 'cancelled')),
    user_seq        bigint NOT NULL,
    reply_seq       bigint,
    attempt         integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    host_epoch      bigint NOT NULL DEFAULT 0,
    event_head      bigint NOT NULL DEFAULT 0 CHECK (event_head >= 0),
    accepted_at     timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz,
    error           text,
    leaf_node       text,
    leaf_number     bigint,
    UNIQUE (conversation_id, idempotency_key),
    UNIQUE (conversation_id, user_seq),
    UNIQUE (conversation_id, reply_seq),
    CHECK ((status = 'committed') = (reply_seq IS NOT NULL)),
    CHECK ((status IN ('committed', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK ((ended_at IS NOT NULL) = (leaf_number IS NOT NULL)),
    CHECK ((leaf_node IS NULL) = (leaf_number IS NULL)),
    CHECK ((status = 'failed') = (error IS NOT NULL)),
    CHECK (reply_seq > user_seq),
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
CREATE UNIQUE INDEX turns_one_running ON turns (conversation_id) WHERE status = 'running';
CREATE INDEX turns_open ON turns (accepted_at) WHERE status IN ('accepted', 'running');

-- The same arrows as ccn/core/turn.py.
CREATE FUNCTION ccn_turn_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ((OLD.status = 'accepted' AND NEW.status IN ('accepted', 'running', 'failed', 'cancelled'))
         OR (OLD.status = 'running' AND NEW.status IN ('running', 'committed', 'failed', 'cancelled'))) THEN
        RAISE EXCEPTION 'a turn that is % cannot become %', OLD.status, NEW.status USING ERRCODE = 'CCN04';
    END IF;
    IF NEW.host_epoch < OLD.host_epoch OR NEW.attempt < OLD.attempt OR NEW.id <> OLD.id
       OR (NEW.conversation_id, NEW.user_seq, NEW.idempotency_key, NEW.accepted_at) IS DISTINCT FROM
          (OLD.conversation_id, OLD.user_seq, OLD.idempotency_key, OLD.accepted_at) THEN
        RAISE EXCEPTION 'a turn keeps its place and its epoch only grows' USING ERRCODE = 'CCN04';
    END IF;
    RETURN NEW;
END $$;
-- The event head is the only thing that may still move for its own trigger; it never moves after the end.
CREATE TRIGGER turns_move BEFORE UPDATE ON turns FOR EACH ROW EXECUTE FUNCTION ccn_turn_moves();
CREATE FUNCTION ccn_turn_starts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Or as running at once, if its host accepts it and has nothing else to do.
    IF NEW.status <> 'accepted' AND (NEW.status, NEW.attempt) <> ('running', 1) THEN
        RAISE EXCEPTION 'a turn begins as accepted, not %', NEW.status USING ERRCODE = 'CCN04';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER turns_start BEFORE INSERT ON turns FOR EACH ROW EXECUTE FUNCTION ccn_turn_starts();
CREATE TRIGGER turns_stay BEFORE DELETE OR TRUNCATE ON turns
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- What a client sees of a running turn, so that any node can replay it. Not history: forgotten after a while.
CREATE TABLE turn_events (
    turn_id    uuid NOT NULL REFERENCES turns,
    number     bigint NOT NULL CHECK (number > 0),
    kind       text NOT NULL,
    data       text NOT NULL DEFAULT '',
    host_epoch bigint NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (turn_id, number)
);
CREATE FUNCTION ccn_turn_events_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wanted bigint; moved bigint;
BEGIN
    WITH batch AS (
        SELECT turn_id, min(number) AS first, max(number) AS last, count(*) AS n,
               min(host_epoch) AS epoch, max(host_epoch) AS newest_epoch
        FROM added GROUP BY turn_id
    ), heads AS (
        UPDATE turns t SET event_head = b.last FROM batch b
        WHERE t.id = b.turn_id AND t.event_head = b.first - 1 AND b.n = b.last - b.first + 1
          AND t.status = 'running' AND t.host_epoch = b.epoch AND b.epoch = b.newest_epoch
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM heads) INTO wanted, moved;
    IF wanted <> moved THEN
        RAISE EXCEPTION 'events must follow each other without gaps, in a running turn, under its host''s epoch'
            USING ERRCODE = 'CCN02';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER turn_events_follow AFTER INSERT ON turn_events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_turn_events_follow();
CREATE TRIGGER turn_events_stay BEFORE UPDATE OR TRUNCATE ON turn_events
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

CREATE TABLE messages (
    conversation_id uuid NOT NULL,  -- the trigger below finds it in conversations, once a statement
    seq             bigint NOT NULL,  -- from 1 on, because a head is never less than 0
    role            ccn_role NOT NULL,
    content         ccn_content,
    salt            ccn_salt,
    language        text,  -- as the writer told it; otherwise whoever indexes the message finds out
    created_at      timestamptz NOT NULL,
    turn_id         uuid REFERENCES turns DEFERRABLE INITIALLY DEFERRED,
    host_epoch      bigint NOT NULL DEFAULT 0,
    idempotency_key ccn_idempotency_key,
    leaf_node       text NOT NULL,
    leaf_number     bigint NOT NULL,
    PRIMARY KEY (conversation_id, seq),
    CHECK ((content IS NULL) = (salt IS NULL))
);
CREATE UNIQUE INDEX messages_one_of_each_per_turn ON messages (turn_id, role) WHERE turn_id IS NOT NULL;
CREATE UNIQUE INDEX messages_idempotent ON messages (conversation_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX messages_leaf ON messages (leaf_node, leaf_number);
CREATE INDEX messages_age ON messages USING brin (created_at);
ALTER TABLE turns
    ADD FOREIGN KEY (conversation_id, user_seq) REFERENCES messages DEFERRABLE INITIALLY DEFERRED,
    ADD FOREIGN KEY (conversation_id, reply_seq) REFERENCES messages DEFERRABLE INITIALLY DEFERRED;

-- Each query in here costs a lone message as much as writing it does. So nothing is joined for a message that
-- comes alone, and an IF that asks a query stands inside one that has reason to: PL/pgSQL runs the query of a
-- condition even where its first half would have decided.
CREATE FUNCTION ccn_messages_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE said record; appended bigint; lasted boolean := false; sealed bigint;
BEGIN
    SELECT count(*) AS n, any_value(conversation_id) AS here, max(seq) AS seq, max(created_at) AS at,
           max(host_epoch) AS epoch, min(leaf_node) AS node, max(leaf_node) AS other,
           min(leaf_number) AS first, max(leaf_number) AS last
    INTO said FROM added;
    IF said.n = 1 THEN
        UPDATE conversations SET head_seq = said.seq, head_at = said.at
        WHERE id = said.here AND head_seq = said.seq - 1 AND head_at <= said.at AND host_epoch = said.epoch
          AND status = 'open';
        GET DIAGNOSTICS appended = ROW_COUNT;
    ELSE
        WITH heads AS (
            UPDATE conversations c SET head_seq = b.last, head_at = b.latest
            FROM (SELECT conversation_id, min(seq) AS first, max(seq) AS last, count(*) AS n,
                         min(created_at) AS earliest, max(created_at) AS latest,
                         min(host_epoch) AS epoch, max(host_epoch) AS newest_epoch
                  FROM added GROUP BY conversation_id) AS b
            WHERE c.id = b.conversation_id AND c.head_seq = b.first - 1 AND b.n = b.last - b.first + 1
              AND c.head_at <= b.earliest AND c.host_epoch = b.epoch AND b.epoch = b.newest_epoch
              AND c.status = 'open'
            RETURNING b.n, b.earliest < b.latest AS lasted
        )
        SELECT coalesce(sum(n), 0), coalesce(bool_or(h.lasted), false) INTO appended, lasted FROM heads h;
    END IF;
    IF lasted THEN
        IF EXISTS (
            SELECT FROM (SELECT created_at,
                                lag(created_at) OVER (PARTITION BY conversation_id ORDER BY seq) AS before
                         FROM added) AS row WHERE created_at < before) THEN
            appended := 0;
        END IF;
    END IF;
    IF appended <> said.n THEN
        RAISE EXCEPTION 'messages must follow the head of an open conversation, in order, under its host''s epoch'
            USING ERRCODE = 'CCN02';
    END IF;
    -- No two messages have one leaf, by a unique index: as many numbers as their range has are the whole range.
    -- It is found in the rows and not given as a parameter, for which a plan would be made each time.
    IF said.n = 1 THEN
        SELECT count(*) INTO sealed FROM leaves
        WHERE node_id = said.node AND number = said.last AND kind = 'message';
    ELSIF said.node = said.other AND said.last - said.first + 1 = said.n THEN
        SELECT count(*) INTO sealed
        FROM (SELECT min(leaf_node) AS node, min(leaf_number) AS first, max(leaf_number) AS last
              FROM added) AS a
            JOIN leaves l ON l.node_id = a.node AND l.number BETWEEN a.first AND a.last
        WHERE l.kind = 'message';
    ELSE
        SELECT count(*) INTO sealed
        FROM added a JOIN leaves l ON l.node_id = a.leaf_node AND l.number = a.leaf_number
        WHERE l.kind = 'message';
    END IF;
    IF sealed <> said.n THEN
        RAISE EXCEPTION 'every message has a leaf' USING ERRCODE = 'CCN05';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_follow AFTER INSERT ON messages REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_messages_follow();

-- Redaction is the one change a message may see: content and salt go, the commitment in its leaf stays.
CREATE TABLE redactions (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations,
    first_seq       bigint NOT NULL,
    last_seq        bigint NOT NULL CHECK (last_seq >= first_seq),
    by              text NOT NULL,
    reason          text NOT NULL,
    at              timestamptz NOT NULL,
    leaf_node       text NOT NULL,
    leaf_number     bigint NOT NULL,
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
CREATE INDEX redactions_conversation ON redactions (conversation_id, first_seq);
CREATE TRIGGER redactions_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON redactions
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

CREATE FUNCTION ccn_only_redact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.content IS NOT NULL OR NEW.salt IS NOT NULL
       OR (NEW.conversation_id, NEW.seq, NEW.role, NEW.language, NEW.created_at, NEW.host_epoch, NEW.leaf_node,
           NEW.leaf_number) IS DISTINCT FROM
          (OLD.conversation_id, OLD.seq, OLD.role, OLD.language, OLD.created_at, OLD.host_epoch, OLD.leaf_node,
           OLD.leaf_number)
       OR (NEW.turn_id, NEW.idempotency_key) IS DISTINCT FROM (OLD.turn_id, OLD.idempotency_key) THEN
        RAISE EXCEPTION 'a message is never edited, only redacted' USING ERRCODE = 'CCN01';
    END IF;
    IF NOT EXISTS (SELECT FROM redactions r WHERE r.conversation_id = NEW.conversation_id
                   AND NEW.seq BETWEEN r.first_seq AND r.last_seq) THEN
        RAISE EXCEPTION 'content goes only with a redaction that says who and why' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER messages_only_redact BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION ccn_only_redact();
CREATE TRIGGER messages_stay BEFORE DELETE OR TRUNCATE ON messages
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- What hosts write in turns, from all the conversations that share a commit: in one statement, because a turn
-- waits for each of them twice. Leaves and messages first, then turns are accepted, started, told and ended.
CREATE FUNCTION ccn_turns(
    node text, leaf_head bigint, leaf_kinds text[], leaf_bodies bytea[],
    said_in uuid[], said_seqs bigint[], said_roles text[], said_contents text[], said_salts bytea[],
    said_languages text[], said_ats timestamptz[], said_turns uuid[], said_epochs bigint[], said_keys text[],
    said_leaves bigint[],
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
        INSERT INTO messages (leaf_node, conversation_id, seq, role, content, salt, language, created_at,
                              turn_id, host_epoch, idempotency_key, leaf_number)
        SELECT node, * FROM unnest(said_in, said_seqs, said_roles, said_contents, said_salts, said_languages,
                                   said_ats, said_turns, said_epochs, said_keys, said_leaves);
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

-- The last message not later than a moment. Within a conversation time follows the sequence, so halving finds
-- it in a few steps of the primary key; an index for this alone would cost every message.
CREATE FUNCTION ccn_seq_at(conversation uuid, moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE low bigint := 0; high bigint; middle bigint; middle_at timestamptz;
BEGIN
    SELECT head_seq INTO high FROM conversations WHERE id = conversation;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        SELECT created_at INTO middle_at FROM messages WHERE conversation_id = conversation AND seq = middle;
        IF middle_at <= moment THEN low := middle; ELSE high := middle - 1; END IF;
    END LOOP;
    RETURN low;
END $$;
