-- What may be spent in a day, and who is about to spend it. A call reserves the most it can cost before it is
-- made and settles what it did cost afterwards; the row of its day is the one place where both are added up.

CREATE TABLE spend_days (
    day   date NOT NULL,
    scope text NOT NULL,  -- 'cluster', or 'character:' and its id
    spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),  -- microdollars, as everywhere
    held  bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    PRIMARY KEY (day, scope)
) WITH (fillfactor = 50);

CREATE TABLE spend_reservations (
    id                 uuid PRIMARY KEY,
    day                date   NOT NULL,
    character_id       text   NOT NULL REFERENCES characters,
    conversation_id    uuid   REFERENCES conversations,  -- none for calls that belong to none
    model              text   NOT NULL,
    amount             bigint NOT NULL CHECK (amount >= 0),
    cluster_limit      bigint CHECK (cluster_limit >= 0),
    character_limit    bigint CHECK (character_limit >= 0),
    held_at            timestamptz NOT NULL,
    status             text   NOT NULL DEFAULT 'held' CHECK (status IN ('held', 'settled', 'released', 'expired')),
    input_tokens       bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens      bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cache_read_tokens  bigint NOT NULL DEFAULT 0 CHECK (cache_read_tokens >= 0),
    cache_write_tokens bigint NOT NULL DEFAULT 0 CHECK (cache_write_tokens >= 0),
    cost               bigint NOT NULL DEFAULT 0 CHECK (cost >= 0),
    CHECK (status = 'settled' OR (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost)
                               = (0, 0, 0, 0, 0))
) WITH (fillfactor = 70);
CREATE INDEX spend_reservations_held ON spend_reservations (held_at) WHERE status = 'held';
CREATE INDEX spend_reservations_over ON spend_reservations (held_at) WHERE status <> 'held';

-- The arrows of ccn/core/budget.py. What expired may still be settled: its holder was slow, not dead.
CREATE FUNCTION ccn_reservation_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'held'
       OR TG_OP = 'UPDATE' AND (
           OLD.status IN ('settled', 'released')
           OR NEW.status = 'held' AND OLD.status <> 'held'
           OR NEW.status <> 'held' AND NEW.amount <> OLD.amount
           OR (NEW.id, NEW.day, NEW.character_id, NEW.conversation_id, NEW.model)
              IS DISTINCT FROM (OLD.id, OLD.day, OLD.character_id, OLD.conversation_id, OLD.model)) THEN
        RAISE EXCEPTION 'a reservation is held, then over, and stays what it was for' USING ERRCODE = 'CCN04';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER spend_reservations_move BEFORE INSERT OR UPDATE ON spend_reservations
    FOR EACH ROW EXECUTE FUNCTION ccn_reservation_moves();

-- Only an amount that is about to be held must fit. The cluster's row comes first for everybody, so that no
-- two wait for each other; whoever waited sees what the other left of it.
CREATE FUNCTION ccn_spend_within(of_day date, of_scope text, dheld bigint, dspent bigint, most bigint, setting text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE there bigint;
BEGIN
    INSERT INTO spend_days (day, scope) VALUES (of_day, of_scope) ON CONFLICT DO NOTHING;
    UPDATE spend_days SET held = held + dheld, spent = spent + dspent
    WHERE day = of_day AND scope = of_scope AND (most IS NULL OR spent + held + dheld + dspent <= most);
    IF NOT FOUND THEN
        SELECT greatest(0, most - spent - held) INTO there FROM spend_days WHERE day = of_day AND scope = of_scope;
        RAISE EXCEPTION '% leaves $% of %, and this call may cost $%', setting,
            round(there / 1e6, 6), of_day, round(dheld / 1e6, 6) USING ERRCODE = 'CCN07';
    END IF;
END $$;

CREATE FUNCTION ccn_spend_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    dheld bigint := CASE NEW.status WHEN 'held' THEN NEW.amount ELSE 0 END;
    dspent bigint := CASE NEW.status WHEN 'settled' THEN NEW.cost WHEN 'expired' THEN NEW.amount ELSE 0 END;
    dcalls integer := (NEW.status IN ('settled', 'expired'))::integer;
    holds boolean;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        dheld := dheld - CASE OLD.status WHEN 'held' THEN OLD.amount ELSE 0 END;
        dspent := dspent - CASE OLD.status WHEN 'expired' THEN OLD.amount ELSE 0 END;
        dcalls := dcalls - (OLD.status = 'expired')::integer;
    END IF;
    holds := dheld > 0;
    PERFORM ccn_spend_within(NEW.day, 'cluster', dheld, dspent,
        CASE WHEN holds THEN NEW.cluster_limit END, 'CCN_CLAUDE_DAILY_BUDGET_DOLLARS');
    PERFORM ccn_spend_within(NEW.day, 'character:' || NEW.character_id, dheld, dspent,
        CASE WHEN holds THEN NEW.character_limit END, 'CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS');
    IF NEW.status = 'settled' OR dspent <> 0 OR dcalls <> 0 THEN
        INSERT INTO usage (day, character_id, conversation_id, model)
        VALUES (NEW.day, NEW.character_id, NEW.conversation_id, NEW.model) ON CONFLICT DO NOTHING;
        -- The row is there now; as a conflict it is found by the index also where there is no conversation.
        INSERT INTO usage AS u (day, character_id, conversation_id, model)
        VALUES (NEW.day, NEW.character_id, NEW.conversation_id, NEW.model)
        ON CONFLICT (day, conversation_id, model, character_id) DO UPDATE SET
            calls = u.calls + dcalls,
            input_tokens = u.input_tokens + NEW.input_tokens,
            output_tokens = u.output_tokens + NEW.output_tokens,
            cache_read_tokens = u.cache_read_tokens + NEW.cache_read_tokens,
            cache_write_tokens = u.cache_write_tokens + NEW.cache_write_tokens,
            cost_microdollars = u.cost_microdollars + dspent;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER spend_adds_up AFTER INSERT OR UPDATE ON spend_reservations
    FOR EACH ROW EXECUTE FUNCTION ccn_spend_adds_up();

-- Reservations that are over may be forgotten: their sums stay. One that is held may not.
CREATE FUNCTION ccn_reservation_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'held' THEN
        RAISE EXCEPTION 'a reservation that is held is settled, released or expired first' USING ERRCODE = 'CCN01';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER spend_reservations_over BEFORE DELETE ON spend_reservations
    FOR EACH ROW EXECUTE FUNCTION ccn_reservation_over();
CREATE TRIGGER spend_reservations_stay BEFORE TRUNCATE ON spend_reservations
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
CREATE TRIGGER spend_days_stay BEFORE DELETE OR TRUNCATE ON spend_days
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_refuse_change();
