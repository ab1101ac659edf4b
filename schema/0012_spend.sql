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
    character_id       text   NOT NULL,  -- whose it is, is looked up where it is counted: in usage
    conversation_id    uuid,  -- may be begun just now, beside this; none for calls that belong to none
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
    FOR attempt IN 1..2 LOOP
        UPDATE spend_days SET held = held + dheld, spent = spent + dspent
        WHERE day = of_day AND scope = of_scope AND (most IS NULL OR spent + held + dheld + dspent <= most);
        IF FOUND THEN
            RETURN;
        END IF;
        INSERT INTO spend_days (day, scope) VALUES (of_day, of_scope) ON CONFLICT DO NOTHING;
    END LOOP;
    SELECT greatest(0, most - spent - held) INTO there FROM spend_days WHERE day = of_day AND scope = of_scope;
    RAISE EXCEPTION '% leaves $% of %, and this call may cost $%', setting,
        round(there / 1e6, 6), of_day, round(dheld / 1e6, 6) USING ERRCODE = 'CCN07';
END $$;

-- What one statement holds is added up once, however many reservations that are: all of it fits, or none of it.
CREATE FUNCTION ccn_spend_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ccn_spend_within(s.day, s.scope, s.held, 0, s.most, s.setting) FROM (
        SELECT day, 'cluster' AS scope, sum(amount)::bigint AS held, min(cluster_limit) AS most,
               'CCN_CLAUDE_DAILY_BUDGET_DOLLARS' AS setting
        FROM added GROUP BY day
        UNION ALL
        SELECT day, 'character:' || character_id, sum(amount)::bigint, min(character_limit),
               'CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS'
        FROM added GROUP BY day, character_id
        ORDER BY day, setting DESC, scope
    ) AS s;
    RETURN NULL;
END $$;
CREATE TRIGGER spend_holds AFTER INSERT ON spend_reservations REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_spend_holds();

CREATE FUNCTION ccn_spend_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved record; here uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM after_it) THEN
        RETURN NULL;  -- nothing but new reservations
    END IF;
    PERFORM ccn_spend_within(s.day, s.scope, s.held, s.spent, s.most, s.setting) FROM (
        WITH moves AS (
            SELECT n.day, n.character_id, n.cluster_limit, n.character_limit,
                   CASE n.status WHEN 'held' THEN n.amount ELSE 0 END
                   - CASE o.status WHEN 'held' THEN o.amount ELSE 0 END AS held,
                   CASE n.status WHEN 'settled' THEN n.cost WHEN 'expired' THEN n.amount ELSE 0 END
                   - CASE o.status WHEN 'expired' THEN o.amount ELSE 0 END AS spent
            FROM after_it n JOIN before_it o USING (id)
        )
        SELECT day, 'cluster' AS scope, sum(held)::bigint AS held, sum(spent)::bigint AS spent,
               min(cluster_limit) FILTER (WHERE held > 0) AS most, 'CCN_CLAUDE_DAILY_BUDGET_DOLLARS' AS setting
        FROM moves GROUP BY day
        UNION ALL
        SELECT day, 'character:' || character_id, sum(held)::bigint, sum(spent)::bigint,
               min(character_limit) FILTER (WHERE held > 0), 'CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS'
        FROM moves GROUP BY day, character_id
        ORDER BY day, setting DESC, scope
    ) AS s;
    FOR moved IN
        SELECT n.day, n.character_id, n.conversation_id, n.model,
               sum((n.status IN ('settled', 'expired'))::integer - (o.status = 'expired')::integer) AS calls,
               sum(n.input_tokens) AS input, sum(n.output_tokens) AS output,
               sum(n.cache_read_tokens) AS cache_read, sum(n.cache_write_tokens) AS cache_write,
               sum(CASE n.status WHEN 'settled' THEN n.cost WHEN 'expired' THEN n.amount ELSE 0 END
                   - CASE o.status WHEN 'expired' THEN o.amount ELSE 0 END) AS cost
        FROM after_it n JOIN before_it o USING (id)
        WHERE n.status IN ('settled', 'expired') OR o.status = 'expired'
        GROUP BY n.day, n.character_id, n.conversation_id, n.model
        ORDER BY n.day, n.character_id, n.conversation_id, n.model
    LOOP
        UPDATE usage u SET
            calls = u.calls + moved.calls,
            input_tokens = u.input_tokens + moved.input,
            output_tokens = u.output_tokens + moved.output,
            cache_read_tokens = u.cache_read_tokens + moved.cache_read,
            cache_write_tokens = u.cache_write_tokens + moved.cache_write,
            cost_microdollars = u.cost_microdollars + moved.cost
        WHERE day = moved.day AND conversation_id = moved.conversation_id AND model = moved.model
          AND character_id = moved.character_id;
        CONTINUE WHEN FOUND;
        -- The first of its day, or of no conversation, or of one that was held for and never came to be.
        SELECT id INTO here FROM conversations WHERE id = moved.conversation_id;
        INSERT INTO usage (day, character_id, conversation_id, model)
        VALUES (moved.day, moved.character_id, here, moved.model) ON CONFLICT DO NOTHING;
        -- The row is there now; as a conflict it is found by the index also where there is no conversation.
        INSERT INTO usage AS u (day, character_id, conversation_id, model)
        VALUES (moved.day, moved.character_id, here, moved.model)
        ON CONFLICT (day, conversation_id, model, character_id) DO UPDATE SET
            calls = u.calls + moved.calls,
            input_tokens = u.input_tokens + moved.input,
            output_tokens = u.output_tokens + moved.output,
            cache_read_tokens = u.cache_read_tokens + moved.cache_read,
            cache_write_tokens = u.cache_write_tokens + moved.cache_write,
            cost_microdollars = u.cost_microdollars + moved.cost;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER spend_moves AFTER UPDATE ON spend_reservations
    REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION ccn_spend_moves();

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

-- All that a node's till changes at once; which of the reservations ended by this. A function, so that its parts are
-- planned once a session. Both parts are one transaction: all of it, or none if it does not fit.
CREATE FUNCTION ccn_till(
    end_ids uuid[], end_statuses text[], end_inputs bigint[], end_outputs bigint[], end_reads bigint[],
    end_writes bigint[], end_costs bigint[],
    hold_ids uuid[], hold_days date[], hold_characters text[], hold_conversations uuid[], hold_models text[],
    hold_amounts bigint[], hold_cluster_limits bigint[], hold_character_limits bigint[], hold_ats timestamptz[]
) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(end_ids) > 0 THEN
        RETURN QUERY
        UPDATE spend_reservations r
        SET status = e.status, input_tokens = e.input, output_tokens = e.output,
            cache_read_tokens = e.cache_read, cache_write_tokens = e.cache_write, cost = e.cost
        FROM unnest(end_ids, end_statuses, end_inputs, end_outputs, end_reads, end_writes, end_costs)
             AS e (id, status, input, output, cache_read, cache_write, cost)
        WHERE r.id = e.id AND r.status IN ('held', 'expired') RETURNING r.id;
    END IF;
    IF cardinality(hold_ids) > 0 THEN
        INSERT INTO spend_reservations AS r (id, day, character_id, conversation_id, model, amount,
                                             cluster_limit, character_limit, held_at)
        SELECT * FROM unnest(hold_ids, hold_days, hold_characters, hold_conversations, hold_models, hold_amounts,
                             hold_cluster_limits, hold_character_limits, hold_ats)
        ON CONFLICT (id) DO UPDATE SET amount = greatest(r.amount, EXCLUDED.amount);
    END IF;
END $$;
