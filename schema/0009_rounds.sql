-- What a round leaves behind besides its block: all that anybody needs to decide it again.

-- The chain begins with a row for its founding, at height 0: no leaves, no votes, only a name and rules.
ALTER TABLE verification_chain DROP CONSTRAINT verification_chain_tree_size_check;
ALTER TABLE verification_chain ADD CONSTRAINT verification_chain_tree_size_check
    CHECK (tree_size > 0 OR height = 0 AND tree_size = 0);

CREATE TABLE cluster_origin (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    origin    text NOT NULL
);

-- The rules that are in force after a block: one row for the founding and one for every change.
CREATE TABLE block_rules (
    height     bigint PRIMARY KEY REFERENCES verification_chain,
    validators bytea NOT NULL,
    parameters bytea NOT NULL
);

-- The tree after a block, as its peaks: whoever goes on from here need not read what is below.
CREATE TABLE block_trees (
    height bigint PRIMARY KEY REFERENCES verification_chain,
    tree   bytea NOT NULL
);

CREATE TABLE block_reports (
    height    bigint NOT NULL REFERENCES verification_chain,
    node_id   text   NOT NULL,
    first     bigint NOT NULL CHECK (first > 0),
    count     bigint NOT NULL CHECK (count >= 0),
    wants     bytea  NOT NULL CHECK (length(wants) = 32),
    signature bytea  NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (height, node_id)
);
CREATE TABLE block_rosters (
    height       bigint NOT NULL,
    node_id      text   NOT NULL,
    character_id text   NOT NULL,
    packed       bytea  NOT NULL,
    PRIMARY KEY (height, node_id, character_id),
    FOREIGN KEY (height, node_id) REFERENCES block_reports
);
-- Ids and vectors hardly shrink; trying to shrink a megabyte of them would be the longest part of a commit.
ALTER TABLE block_rosters ALTER packed SET STORAGE EXTERNAL;
CREATE TABLE block_results (
    height       bigint NOT NULL REFERENCES verification_chain,
    character_id text   NOT NULL,
    body         bytea  NOT NULL,
    PRIMARY KEY (height, character_id)
);
-- Nor do drifts, which are most of a result, shrink to much less than two thirds.
ALTER TABLE block_results ALTER body SET STORAGE EXTERNAL;

-- Two signed statements of one node that no honest node makes, found by another one.
CREATE TABLE evidence (
    node_id  text   NOT NULL,
    kind     text   NOT NULL CHECK (kind IN ('proposal', 'vote', 'cosigned')),
    height   bigint NOT NULL,
    term     bigint NOT NULL,
    body     bytea  NOT NULL,
    found_by text   NOT NULL,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node_id, kind, height, term)
);

DO $$
DECLARE kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['cluster_origin', 'block_rules', 'block_trees', 'block_reports', 'block_rosters',
                                'block_results', 'evidence'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change()', kept || '_stay', kept);
    END LOOP;
END $$;
