-- What an operator asks of the leader, whoever that is, and what came of it. Whoever can write here operates
-- the cluster; the leader looks between two rounds.
CREATE TABLE operator_requests (
    id          uuid PRIMARY KEY,
    command     text NOT NULL CHECK (command IN ('round')),
    asked_by    text NOT NULL CHECK (asked_by <> '' AND length(asked_by) <= 200),
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    answered_at timestamptz,
    outcome     jsonb,
    CHECK ((answered_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX operator_requests_open ON operator_requests (asked_at) WHERE answered_at IS NULL;

CREATE FUNCTION ccn_answered_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.answered_at IS NOT NULL
       OR (NEW.id, NEW.command, NEW.asked_by, NEW.asked_at) IS DISTINCT FROM
          (OLD.id, OLD.command, OLD.asked_by, OLD.asked_at) THEN
        RAISE EXCEPTION 'a request is answered once and never changed' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER operator_requests_answered_once BEFORE UPDATE ON operator_requests
    FOR EACH ROW EXECUTE FUNCTION ccn_answered_once();
CREATE TRIGGER operator_requests_stay BEFORE DELETE OR TRUNCATE ON operator_requests
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
