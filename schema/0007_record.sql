-- What was agreed, and the proof of it. A round commits one block; a block seals the leaves since the last.

-- The term a leader took. It comes from here and not from etcd, so that a wiped etcd cannot repeat one.
CREATE TABLE cluster_term (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    term      bigint NOT NULL CHECK (term >= 0),
    leader    text,
    taken_at  timestamptz
);
INSERT INTO cluster_term VALUES (true, 0);
CREATE FUNCTION ccn_term_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.term <= OLD.term THEN
        RAISE EXCEPTION 'a term only grows: % after %', NEW.term, OLD.term USING ERRCODE = 'CCN06';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cluster_term_grows BEFORE UPDATE ON cluster_term FOR EACH ROW EXECUTE FUNCTION ccn_term_grows();
CREATE TRIGGER cluster_term_stays BEFORE DELETE OR TRUNCATE ON cluster_term
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- Every decision, failed rounds and operator actions included, numbered without gaps.
CREATE TABLE consensus_log (
    log_index    bigint PRIMARY KEY CHECK (log_index > 0),
    term         bigint NOT NULL CHECK (term >= 0),
    command_type text NOT NULL CHECK (command_type <> ''),
    data         jsonb NOT NULL,
    committed    boolean NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    previous     bigint GENERATED ALWAYS AS (nullif(log_index, 1) - 1) STORED REFERENCES consensus_log
);
CREATE INDEX consensus_log_type ON consensus_log (command_type, log_index DESC);
CREATE TRIGGER consensus_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON consensus_log
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- One block per height, each naming the one before it by height and hash.
CREATE TABLE verification_chain (
    height        bigint PRIMARY KEY CHECK (height >= 0),
    hash          bytea  NOT NULL CHECK (length(hash) = 32),
    previous_hash bytea  CHECK (length(previous_hash) = 32),
    term          bigint NOT NULL CHECK (term >= 0),
    header        bytea  NOT NULL,
    tree_size     bigint NOT NULL CHECK (tree_size > 0),
    root          bytea  NOT NULL CHECK (length(root) = 32),
    sealed_at     timestamptz NOT NULL,
    previous      bigint GENERATED ALWAYS AS (nullif(height, 0) - 1) STORED,
    UNIQUE (height, hash),
    UNIQUE (tree_size),
    CHECK ((height = 0) = (previous_hash IS NULL)),
    FOREIGN KEY (previous, previous_hash) REFERENCES verification_chain (height, hash)
);
CREATE INDEX verification_chain_time ON verification_chain (sealed_at);

-- Which leaves a block seals: for each node a range that begins where its last one ended, so that no leaf is
-- sealed twice or left out. tree_start is the place of the first of them in the tree.
CREATE TABLE block_leaves (
    height     bigint NOT NULL REFERENCES verification_chain,
    node_id    text   NOT NULL,
    first      bigint NOT NULL CHECK (first > 0),
    last       bigint NOT NULL CHECK (last >= first),
    tree_start bigint NOT NULL CHECK (tree_start >= 0),
    previous   bigint GENERATED ALWAYS AS (nullif(first, 1) - 1) STORED,
    PRIMARY KEY (height, node_id),
    UNIQUE (node_id, first),
    UNIQUE (node_id, last),
    UNIQUE (tree_start),
    FOREIGN KEY (node_id, last) REFERENCES leaves,
    FOREIGN KEY (node_id, previous) REFERENCES block_leaves (node_id, last)
);

CREATE TABLE votes (
    height    bigint NOT NULL REFERENCES verification_chain,
    term      bigint NOT NULL,
    node_id   text   NOT NULL,
    hash      bytea  NOT NULL CHECK (length(hash) = 32),
    signature bytea  NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (height, term, node_id),
    FOREIGN KEY (height, hash) REFERENCES verification_chain (height, hash)
);

CREATE TABLE checkpoints (
    tree_size bigint PRIMARY KEY REFERENCES verification_chain (tree_size),
    note      bytea NOT NULL
);
CREATE TABLE cosignatures (
    tree_size bigint NOT NULL REFERENCES checkpoints,
    signer    text   NOT NULL,
    line      bytea  NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tree_size, signer)
);

DO $$
DECLARE kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['verification_chain', 'block_leaves', 'votes', 'checkpoints', 'cosignatures'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change()', kept || '_stay', kept);
    END LOOP;
END $$;
