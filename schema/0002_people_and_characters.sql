-- Who talks, and who they talk to.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    name          text NOT NULL CHECK (name <> '' AND length(name) <= 200),
    password_hash text,
    tier          text NOT NULL CHECK (tier IN ('public', 'user', 'admin')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

CREATE TABLE characters (
    id         text PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    name       text NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Kinds of values. A domain is looked at when a value of that kind is written; a CHECK of a table whenever
-- anything in the row changes, and PostgreSQL reads it anew for each statement. So what every message touches
-- has domains, and keeps its CHECKs for what is true between columns.
CREATE DOMAIN ccn_node AS text CHECK (VALUE ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$');
CREATE DOMAIN ccn_count AS bigint CHECK (VALUE >= 0);

-- Leaves of the ledger come first, because every protected row names its leaf. Each node numbers its own
-- without gaps, so an omission shows; the trigger makes the head move by compare-and-swap.
CREATE TABLE leaf_sources (
    node_id ccn_node PRIMARY KEY,
    head    ccn_count NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE leaves (
    node_id text   NOT NULL,  -- the trigger below finds it in leaf_sources, once a statement instead of a row
    number  bigint NOT NULL,  -- from 1 on, because a head is never less than 0
    kind    text   NOT NULL,
    body    bytea  NOT NULL,
    hash    bytea  NOT NULL GENERATED ALWAYS AS (sha256('\x00'::bytea || body)) STORED,  -- RFC 6962
    PRIMARY KEY (node_id, number)
);

CREATE FUNCTION ccn_leaves_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE batch record;
BEGIN
    SELECT min(node_id) AS node, max(node_id) AS other, min(number) AS first, max(number) AS last, count(*) AS n
    INTO batch FROM added;
    UPDATE leaf_sources SET head = batch.last
    WHERE node_id = batch.node AND batch.node = batch.other
      AND head = batch.first - 1 AND batch.n = batch.last - batch.first + 1;
    IF NOT FOUND AND batch.n > 0 THEN
        RAISE EXCEPTION 'the leaves of one node must follow its head without gaps' USING ERRCODE = 'CCN02';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER leaves_follow AFTER INSERT ON leaves REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_leaves_follow();
CREATE TRIGGER leaves_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON leaves
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- A plate is versioned by its content; an operator imports a new one, nobody edits an old one.
CREATE TABLE plates (
    character_id text NOT NULL REFERENCES characters,
    version      integer NOT NULL CHECK (version > 0),
    hash         bytea NOT NULL CHECK (hash = sha256(convert_to(content, 'UTF8'))),
    content      text NOT NULL,
    imported_by  text NOT NULL,
    imported_at  timestamptz NOT NULL DEFAULT now(),
    leaf_node    text NOT NULL,
    leaf_number  bigint NOT NULL,
    previous     integer GENERATED ALWAYS AS (nullif(version, 1) - 1) STORED,
    PRIMARY KEY (character_id, version),
    UNIQUE (character_id, hash),
    FOREIGN KEY (character_id, previous) REFERENCES plates,
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
CREATE TRIGGER plates_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON plates
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
