-- A request that nobody has begun can be taken back, once. Nobody begins it from then on, and a node seals that
-- as its answer. What a node is at, or has answered, stays as it is.
ALTER TABLE operator_requests
    ADD COLUMN taken_back_at timestamptz,
    ADD COLUMN taken_back_by text CHECK (taken_back_by <> '' AND length(taken_back_by) <= 200),
    ADD COLUMN taken_back_why text CHECK (length(taken_back_why) <= 2000),
    ADD CHECK (num_nulls(taken_back_at, taken_back_by, taken_back_why) IN (0, 3));

CREATE FUNCTION ccn_taken_back_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.taken_back_at, NEW.taken_back_by, NEW.taken_back_why) IS DISTINCT FROM
       (OLD.taken_back_at, OLD.taken_back_by, OLD.taken_back_why)
       AND (OLD.taken_back_at IS NOT NULL OR OLD.answered_at IS NOT NULL OR OLD.claimed_until > clock_timestamp()) THEN
        RAISE EXCEPTION 'a request is taken back once, and only while nobody is at it' USING ERRCODE = 'CCN01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER operator_requests_taken_back_once BEFORE UPDATE ON operator_requests
    FOR EACH ROW EXECUTE FUNCTION ccn_taken_back_once();
CREATE INDEX operator_requests_newest ON operator_requests (asked_at DESC, id);
