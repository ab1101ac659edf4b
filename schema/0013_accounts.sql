-- How people and services prove who they are, and until when that counts. Secrets lie here as hashes, but for
-- the keys that sign access tokens: every node must be able to accept what any node signed.

-- A user's generation grows whenever everything that was issued before must stop counting: a new password,
-- a disabled account. Access tokens carry it; refresh tokens too.
ALTER TABLE users ADD COLUMN generation integer NOT NULL DEFAULT 1 CHECK (generation > 0);
CREATE FUNCTION ccn_generation_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.password_hash IS DISTINCT FROM OLD.password_hash
       OR NEW.disabled_at IS NOT NULL AND OLD.disabled_at IS NULL THEN
        NEW.generation := OLD.generation + 1;
    END IF;
    IF NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'the generation of a user only grows' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER users_generation_grows BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION ccn_generation_grows();

-- What services show instead of a password. Only the hash is kept: 256 random bits need no slow one.
CREATE TABLE api_keys (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users,
    name       text NOT NULL CHECK (name <> '' AND length(name) <= 200),
    prefix     text NOT NULL UNIQUE CHECK (length(prefix) BETWEEN 8 AND 16),
    hash       bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    tier       text NOT NULL CHECK (tier IN ('public', 'user', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz CHECK (expires_at > created_at),
    revoked_at timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id);

-- Refresh tokens are used once. A family is everything that followed from one sign-in; whoever shows a used
-- token again, or has it shown by a thief, ends the whole family.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
    family     uuid NOT NULL,
    user_id    uuid NOT NULL REFERENCES users,
    generation integer NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL CHECK (expires_at > issued_at),
    spent_at   timestamptz,
    revoked_at timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id, expires_at);

-- What access tokens are signed with: one key signs, and the one before it is accepted for a while.
CREATE TABLE token_keys (
    id             text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    secret         bytea NOT NULL CHECK (length(secret) = 64),
    created_at     timestamptz NOT NULL DEFAULT now(),
    accepted_until timestamptz
);
CREATE UNIQUE INDEX token_keys_one_signs ON token_keys ((true)) WHERE accepted_until IS NULL;

-- What was revoked, spent or retired stays so, and an end that was set comes no later.
CREATE FUNCTION ccn_ended_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := to_jsonb(OLD);
    after  jsonb := to_jsonb(NEW);
    ending text;
BEGIN
    FOREACH ending IN ARRAY TG_ARGV LOOP
        IF before ->> ending IS NOT NULL AND (after ->> ending IS NULL
           OR (after ->> ending)::timestamptz > (before ->> ending)::timestamptz) THEN
            RAISE EXCEPTION 'what has ended in % stays ended', TG_TABLE_NAME USING ERRCODE = 'CCN01';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER api_keys_ended_once BEFORE UPDATE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_ended_once('revoked_at', 'expires_at');
CREATE TRIGGER refresh_tokens_ended_once BEFORE UPDATE ON refresh_tokens
    FOR EACH ROW EXECUTE FUNCTION ccn_ended_once('spent_at', 'revoked_at', 'expires_at');
CREATE TRIGGER token_keys_ended_once BEFORE UPDATE ON token_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_ended_once('accepted_until');
