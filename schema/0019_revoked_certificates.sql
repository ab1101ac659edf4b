-- Certificates of nodes that count no more: one by its serial number, or all of a node that were made until then.
CREATE TABLE revoked_certificates (
    id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    node_id text CHECK (node_id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    serial  text CHECK (serial ~ '^[1-9a-f][0-9a-f]{0,39}$'),
    at      timestamptz NOT NULL,
    reason  text NOT NULL CHECK (length(reason) <= 2000),
    CHECK ((node_id IS NULL) <> (serial IS NULL))
);
CREATE TRIGGER revoked_certificates_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON revoked_certificates
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();

-- In the record like every decision about who may come in.
CREATE FUNCTION ccn_note_certificate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ccn_note_account('revoke certificate', jsonb_strip_nulls(jsonb_build_object(
        'node', NEW.node_id, 'serial', NEW.serial, 'reason', NEW.reason,
        'until', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))));
    RETURN NULL;
END $$;
CREATE TRIGGER revoked_certificates_note AFTER INSERT ON revoked_certificates
    FOR EACH ROW EXECUTE FUNCTION ccn_note_certificate();
