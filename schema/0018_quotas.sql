-- What each user may have at once. Whoever begins something for a user takes the lock of that user's row first,
-- in the order of users, and counts afterwards: so no two nodes fill the last place together, and none waits for
-- another that waits for it.

CREATE TABLE quotas (
    owner_id      uuid PRIMARY KEY REFERENCES users,
    conversations bigint NOT NULL CHECK (conversations >= 0),  -- open at once, as the node that asked last is set
    instances     bigint NOT NULL CHECK (instances >= 0)       -- alive at once
) WITH (fillfactor = 50);

-- As its conversation has it; nobody looks for it where the instance had ended before this was kept.
ALTER TABLE instance_registry ADD COLUMN owner_id uuid REFERENCES users;
CREATE INDEX instance_registry_owner ON instance_registry (owner_id) WHERE ended_at IS NULL;
CREATE INDEX conversations_open ON conversations (owner_id) WHERE status = 'open';
UPDATE instance_registry i SET owner_id = c.owner_id
FROM conversations c WHERE c.id = i.conversation_id AND i.ended_at IS NULL;

-- As before, and the owner comes along from the conversation, which is at hand.
CREATE OR REPLACE FUNCTION ccn_host_moves() RETURNS trigger LANGUAGE plpgsql AS $$
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
        NEW.owner_id := OLD.owner_id;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.epoch <> OLD.epoch THEN
        UPDATE conversations SET host_epoch = NEW.epoch WHERE id = NEW.conversation_id AND host_epoch < NEW.epoch
        RETURNING owner_id INTO NEW.owner_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a host needs a later epoch than every host before it' USING ERRCODE = 'CCN04';
        END IF;
        -- Unfinished turns move along: from here on the host before can neither stream into them nor end them.
        UPDATE turns SET host_epoch = NEW.epoch
        WHERE conversation_id = NEW.conversation_id AND status IN ('accepted', 'running');
    END IF;
    RETURN NEW;
END $$;

-- The count comes in a statement of its own after the lock, so it sees what was committed by whoever held it.
CREATE FUNCTION ccn_conversations_within() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE most bigint;
BEGIN
    PERFORM FROM quotas WHERE owner_id IN (SELECT owner_id FROM added) ORDER BY owner_id FOR UPDATE;
    SELECT q.conversations INTO most FROM quotas q
    WHERE q.owner_id IN (SELECT owner_id FROM added)
      AND q.conversations < (SELECT count(*) FROM conversations c
                             WHERE c.owner_id = q.owner_id AND c.status = 'open') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% conversations of one user are open, which is all that CCN_LIMITS_CONVERSATIONS allows', most
            USING ERRCODE = 'CCN08';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER conversations_within AFTER INSERT ON conversations REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_conversations_within();

CREATE FUNCTION ccn_instances_within() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE most bigint;
BEGIN
    PERFORM FROM quotas WHERE owner_id IN (SELECT owner_id FROM added) ORDER BY owner_id FOR UPDATE;
    SELECT q.instances INTO most FROM quotas q
    WHERE q.owner_id IN (SELECT owner_id FROM added)
      AND q.instances < (SELECT count(*) FROM instance_registry i
                         WHERE i.owner_id = q.owner_id AND i.ended_at IS NULL) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% instances of one user are alive, which is all that CCN_LIMITS_INSTANCES allows', most
            USING ERRCODE = 'CCN09';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER instances_within AFTER INSERT ON instance_registry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_instances_within();
