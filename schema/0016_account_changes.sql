-- Who may come in is decided by operators, so every change of it is a request like theirs: done already when it is
-- asked, and sealed by the next node that looks. It says what was decided about whom, and holds no secret: no
-- password, no key and no hash of one.

-- `ccn.by` is who changes it, for the transaction; without it, the account of the database.
CREATE FUNCTION ccn_note_account(action text, about jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO operator_requests (id, command, body, asked_by)
    VALUES (gen_random_uuid(), 'account', jsonb_build_object('action', action) || about,
            coalesce(nullif(current_setting('ccn.by', true), ''), session_user))
$$;

CREATE FUNCTION ccn_note_user() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one   users := coalesce(NEW, OLD);
    about jsonb := jsonb_build_object('user', one.id, 'name', one.name, 'tier', one.tier);
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM ccn_note_account('add user', about);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM ccn_note_account('remove user', about);
    ELSE
        IF NEW.name <> OLD.name THEN
            PERFORM ccn_note_account('rename user', about || jsonb_build_object('before', OLD.name));
        END IF;
        IF NEW.tier <> OLD.tier THEN
            PERFORM ccn_note_account('change tier', about || jsonb_build_object('before', OLD.tier));
        END IF;
        IF NEW.password_hash IS DISTINCT FROM OLD.password_hash THEN
            PERFORM ccn_note_account('change password', about);
        END IF;
        IF (NEW.disabled_at IS NULL) <> (OLD.disabled_at IS NULL) THEN
            PERFORM ccn_note_account(
                CASE WHEN NEW.disabled_at IS NULL THEN 'enable user' ELSE 'disable user' END, about);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER users_note AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION ccn_note_user();

CREATE FUNCTION ccn_note_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one   api_keys := coalesce(NEW, OLD);
    about jsonb    := jsonb_build_object('user', one.user_id, 'key', one.id, 'for', one.name, 'tier', one.tier);
BEGIN
    IF one.expires_at IS NOT NULL THEN
        about := about || jsonb_build_object(
            'until', to_char(one.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM ccn_note_account('issue key', about);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM ccn_note_account('remove key', about);
    ELSIF NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL THEN
        PERFORM ccn_note_account('revoke key', about);
    ELSIF (NEW.user_id, NEW.hash, NEW.tier, NEW.expires_at) IS DISTINCT FROM
          (OLD.user_id, OLD.hash, OLD.tier, OLD.expires_at) THEN
        PERFORM ccn_note_account('change key', about);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER api_keys_note AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_note_key();

-- The first key that signs tokens is made by whichever node needs it, and nobody decided anything.
CREATE FUNCTION ccn_note_rotation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM token_keys WHERE id <> NEW.id) THEN
        PERFORM ccn_note_account('rotate signing key', jsonb_build_object('key', NEW.id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER token_keys_note AFTER INSERT ON token_keys
    FOR EACH ROW EXECUTE FUNCTION ccn_note_rotation();
