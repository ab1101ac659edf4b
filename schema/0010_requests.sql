-- What operators ask for, and what came of it. Whoever can write here operates the cluster. The leader takes
-- what only a leader may do, under its term; any node, or the one that is named, claims the rest.
CREATE TABLE operator_requests (
    id            uuid PRIMARY KEY,
    command       text NOT NULL CHECK (command ~ '^[a-z][a-z-]{0,39}$'),
    body          jsonb NOT NULL DEFAULT '{}'
                  CHECK (jsonb_typeof(body) = 'object' AND octet_length(body::text) <= 4000000),
    node          text REFERENCES leaf_sources,
    asked_by      text NOT NULL CHECK (asked_by <> '' AND length(asked_by) <= 200),
    asked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Who is at it, and until when it is left to them. The number tells one try from the next.
    claimed_by    text,
    claimed_until timestamptz,
    claims        integer NOT NULL DEFAULT 0,
    answered_at   timestamptz,
    outcome       jsonb CHECK (jsonb_typeof(outcome) = 'object'),
    leaf_node     text,
    leaf_number   bigint,
    CHECK ((answered_at IS NULL) = (outcome IS NULL)),
    CHECK ((answered_at IS NULL) = (leaf_number IS NULL) AND (leaf_node IS NULL) = (leaf_number IS NULL)),
    CHECK ((claims = 0) = (claimed_by IS NULL) AND (claimed_by IS NULL) = (claimed_until IS NULL)),
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
CREATE INDEX operator_requests_open ON operator_requests (asked_at) WHERE answered_at IS NULL;

CREATE FUNCTION ccn_answered_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.answered_at IS NOT NULL OR NEW.claims NOT IN (OLD.claims, OLD.claims + 1)
       OR (NEW.id, NEW.command, NEW.body, NEW.node, NEW.asked_by, NEW.asked_at) IS DISTINCT FROM
          (OLD.id, OLD.command, OLD.body, OLD.node, OLD.asked_by, OLD.asked_at) THEN
        RAISE EXCEPTION 'a request is answered once and never changed' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER operator_requests_answered_once BEFORE UPDATE ON operator_requests
    FOR EACH ROW EXECUTE FUNCTION ccn_answered_once();
CREATE TRIGGER operator_requests_stay BEFORE DELETE OR TRUNCATE ON operator_requests
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- The fence of ccn/store/terms.py for a write that travels with others: held until they commit. Two statements,
-- because the term must be read after the lock was granted, not before.
CREATE FUNCTION ccn_led(fence bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(fence);
    IF (SELECT term FROM cluster_term) <> wanted THEN
        RAISE EXCEPTION 'term % is over', wanted USING ERRCODE = 'CCN06';
    END IF;
END $$;

-- Nodes that take nothing new, lead nothing and hand over what they host. Part of no history: requests are.
CREATE TABLE node_drains (
    node_id text PRIMARY KEY REFERENCES leaf_sources,
    by      text NOT NULL,
    since   timestamptz NOT NULL DEFAULT clock_timestamp()
);
