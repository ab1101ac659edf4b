-- Who spends: reservations and usage name the user for whom a call is made, also where it belongs to no conversation,
-- and what one user spends in a day has a row of its own beside the cluster's and the characters'.

ALTER TABLE spend_reservations
    ADD COLUMN owner_id    uuid,  -- none for what is nobody's
    ADD COLUMN owner_limit bigint CHECK (owner_limit >= 0);

ALTER TABLE usage ADD COLUMN owner_id uuid REFERENCES users;
ALTER TABLE usage DROP CONSTRAINT usage_day_conversation_id_model_character_id_key;
ALTER TABLE usage ADD UNIQUE NULLS NOT DISTINCT (day, conversation_id, model, character_id, owner_id);
CREATE INDEX usage_owner ON usage (owner_id, day);
UPDATE usage u SET owner_id = c.owner_id FROM conversations c WHERE c.id = u.conversation_id;

CREATE OR REPLACE FUNCTION ccn_reservation_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'held'
       OR TG_OP = 'UPDATE' AND (
           OLD.status IN ('settled', 'released')
           OR NEW.status = 'held' AND OLD.status <> 'held'
           OR NEW.status <> 'held' AND NEW.amount <> OLD.amount
           OR (NEW.id, NEW.day, NEW.character_id, NEW.conversation_id, NEW.model, NEW.owner_id) IS DISTINCT FROM
              (OLD.id, OLD.day, OLD.character_id, OLD.conversation_id, OLD.model, OLD.owner_id)) THEN
        RAISE EXCEPTION 'a reservation is held, then over, and stays what it was for' USING ERRCODE = 'CCN04';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION ccn_spend_within(
    of_day date, of_scope text, dheld bigint, dspent bigint, most bigint, setting text
) RETURNS void LANGUAGE plpgsql AS $$
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
        round(there / 1e6, 6), of_day, round(dheld / 1e6, 6)
        USING ERRCODE = CASE WHEN of_scope LIKE 'user:%' THEN 'CCN10' ELSE 'CCN07' END;
END $$;

-- Everybody takes these rows in one order, so that no two wait for each other: users, characters, the cluster.
-- The cluster's comes last, because all wait for it: whoever is refused for their own sake has not touched it.
CREATE OR REPLACE FUNCTION ccn_spend_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ccn_spend_within(s.day, s.scope, s.held, 0, s.most, s.setting) FROM (
        SELECT day, 1 AS turn, 'user:' || owner_id AS scope, sum(amount)::bigint AS held,
               min(owner_limit) AS most, 'CCN_LIMITS_DAILY_DOLLARS' AS setting
        FROM added WHERE owner_id IS NOT NULL GROUP BY day, owner_id
        UNION ALL
        SELECT day, 2, 'character:' || character_id, sum(amount)::bigint, min(character_limit),
               'CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS'
        FROM added GROUP BY day, character_id
        UNION ALL
        SELECT day, 3, 'cluster', sum(amount)::bigint, min(cluster_limit), 'CCN_CLAUDE_DAILY_BUDGET_DOLLARS'
        FROM added GROUP BY day
        ORDER BY day, turn, scope
    ) AS s;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ccn_spend_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved record; here uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM after_it) THEN
        RETURN NULL;  -- nothing but new reservations
    END IF;
    PERFORM ccn_spend_within(s.day, s.scope, s.held, s.spent, s.most, s.setting) FROM (
        WITH moves AS (
            SELECT n.day, n.character_id, n.owner_id, n.cluster_limit, n.character_limit, n.owner_limit,
                   CASE n.status WHEN 'held' THEN n.amount ELSE 0 END
                   - CASE o.status WHEN 'held' THEN o.amount ELSE 0 END AS held,
                   CASE n.status WHEN 'settled' THEN n.cost WHEN 'expired' THEN n.amount ELSE 0 END
                   - CASE o.status WHEN 'expired' THEN o.amount ELSE 0 END AS spent
            FROM after_it n JOIN before_it o USING (id)
        )
        SELECT day, 1 AS turn, 'user:' || owner_id AS scope, sum(held)::bigint AS held, sum(spent)::bigint AS spent,
               min(owner_limit) FILTER (WHERE held > 0) AS most, 'CCN_LIMITS_DAILY_DOLLARS' AS setting
        FROM moves WHERE owner_id IS NOT NULL GROUP BY day, owner_id
        UNION ALL
        SELECT day, 2, 'character:' || character_id, sum(held)::bigint, sum(spent)::bigint,
               min(character_limit) FILTER (WHERE held > 0), 'CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS'
        FROM moves GROUP BY day, character_id
        UNION ALL
        SELECT day, 3, 'cluster', sum(held)::bigint, sum(spent)::bigint,
               min(cluster_limit) FILTER (WHERE held > 0), 'CCN_CLAUDE_DAILY_BUDGET_DOLLARS'
        FROM moves GROUP BY day
        ORDER BY day, turn, scope
    ) AS s;
    FOR moved IN
        SELECT n.day, n.character_id, n.conversation_id, n.model, n.owner_id,
               sum((n.status IN ('settled', 'expired'))::integer - (o.status = 'expired')::integer) AS calls,
               sum(n.input_tokens) AS input, sum(n.output_tokens) AS output,
               sum(n.cache_read_tokens) AS cache_read, sum(n.cache_write_tokens) AS cache_write,
               sum(CASE n.status WHEN 'settled' THEN n.cost WHEN 'expired' THEN n.amount ELSE 0 END
                   - CASE o.status WHEN 'expired' THEN o.amount ELSE 0 END) AS cost
        FROM after_it n JOIN before_it o USING (id)
        WHERE n.status IN ('settled', 'expired') OR o.status = 'expired'
        GROUP BY n.day, n.character_id, n.conversation_id, n.model, n.owner_id
        ORDER BY n.day, n.character_id, n.conversation_id, n.model, n.owner_id
    LOOP
        UPDATE usage u SET
            calls = u.calls + moved.calls,
            input_tokens = u.input_tokens + moved.input,
            output_tokens = u.output_tokens + moved.output,
            cache_read_tokens = u.cache_read_tokens + moved.cache_read,
            cache_write_tokens = u.cache_write_tokens + moved.cache_write,
            cost_microdollars = u.cost_microdollars + moved.cost
        WHERE day = moved.day AND conversation_id = moved.conversation_id AND model = moved.model
          AND character_id = moved.character_id AND owner_id IS NOT DISTINCT FROM moved.owner_id;
        CONTINUE WHEN FOUND;
        -- The first of its day, or of no conversation, or of one that was held for and never came to be.
        SELECT id INTO here FROM conversations WHERE id = moved.conversation_id;
        INSERT INTO usage (day, character_id, conversation_id, model, owner_id)
        VALUES (moved.day, moved.character_id, here, moved.model, moved.owner_id) ON CONFLICT DO NOTHING;
        -- The row is there now; as a conflict it is found by the index also where there is no conversation.
        INSERT INTO usage AS u (day, character_id, conversation_id, model, owner_id)
        VALUES (moved.day, moved.character_id, here, moved.model, moved.owner_id)
        ON CONFLICT (day, conversation_id, model, character_id, owner_id) DO UPDATE SET
            calls = u.calls + moved.calls,
            input_tokens = u.input_tokens + moved.input,
            output_tokens = u.output_tokens + moved.output,
            cache_read_tokens = u.cache_read_tokens + moved.cache_read,
            cache_write_tokens = u.cache_write_tokens + moved.cache_write,
            cost_microdollars = u.cost_microdollars + moved.cost;
    END LOOP;
    RETURN NULL;
END $$;

-- With whose the calls are. The one before it, which has two parameters less, stays for nodes of the version before.
CREATE FUNCTION ccn_till(
    end_ids uuid[], end_statuses text[], end_inputs bigint[], end_outputs bigint[], end_reads bigint[],
    end_writes bigint[], end_costs bigint[],
    hold_ids uuid[], hold_days date[], hold_characters text[], hold_conversations uuid[], hold_models text[],
    hold_amounts bigint[], hold_cluster_limits bigint[], hold_character_limits bigint[], hold_ats timestamptz[],
    hold_owners uuid[], hold_owner_limits bigint[]
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
                                             cluster_limit, character_limit, held_at, owner_id, owner_limit)
        SELECT * FROM unnest(hold_ids, hold_days, hold_characters, hold_conversations, hold_models, hold_amounts,
                             hold_cluster_limits, hold_character_limits, hold_ats, hold_owners, hold_owner_limits)
        ON CONFLICT (id) DO UPDATE SET amount = greatest(r.amount, EXCLUDED.amount);
    END IF;
END $$;
