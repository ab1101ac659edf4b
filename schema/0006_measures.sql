-- What was measured, as time series. Keys end in time and a number, because TimescaleDB wants time in every
-- unique key; foreign keys only lead from a series to ordinary tables.

-- The sixteen axes of an instance after each scored message, on the grid of millionths that real holds exactly.
CREATE TABLE character_evolution (
    conversation_id uuid   NOT NULL REFERENCES conversations,
    ts              timestamptz NOT NULL,
    seq             bigint NOT NULL,
    instance_id     uuid,
    vector          real[] NOT NULL CHECK (cardinality(vector) = 16 AND 0 <= ALL (vector) IS NOT false
                                           AND 1 >= ALL (vector) IS NOT false),
    scorer          text   NOT NULL,
    drift           real   CHECK (drift BETWEEN 0 AND 1),
    leaf_node       text   NOT NULL,
    leaf_number     bigint NOT NULL,
    -- What the message alone scored; the vector is the state it led to, which is what nodes agree on and seal.
    scores          real[] CHECK (cardinality(scores) = 16 AND 0 <= ALL (scores) IS NOT false
                                  AND 1 >= ALL (scores) IS NOT false),
    PRIMARY KEY (conversation_id, ts, seq),
    FOREIGN KEY (leaf_node, leaf_number) REFERENCES leaves
);
SELECT ccn_time_series('character_evolution', 'ts');

-- The seven relational axes of a conversation.
CREATE TABLE relational_evolution (
    conversation_id uuid   NOT NULL REFERENCES conversations,
    ts              timestamptz NOT NULL,
    seq             bigint NOT NULL,
    vector          real[] NOT NULL CHECK (cardinality(vector) = 7 AND 0 <= ALL (vector) IS NOT false
                                           AND 1 >= ALL (vector) IS NOT false),
    PRIMARY KEY (conversation_id, ts, seq)
);
SELECT ccn_time_series('relational_evolution', 'ts');

-- Statistical estimates; NULL where a measure was not estimable.
CREATE TABLE consciousness_metrics (
    conversation_id uuid   NOT NULL REFERENCES conversations,
    ts              timestamptz NOT NULL,
    seq             bigint NOT NULL,
    phi             double precision CHECK (phi <> 'NaN'),
    ccc             double precision CHECK (ccc <> 'NaN'),
    trust           double precision CHECK (trust BETWEEN 0 AND 1),
    emergence       double precision CHECK (emergence <> 'NaN'),
    drift           double precision CHECK (drift BETWEEN 0 AND 1),
    PRIMARY KEY (conversation_id, ts, seq)
);
SELECT ccn_time_series('consciousness_metrics', 'ts');

-- Hourly means, kept by a watermark: continuous aggregates need the TSL and would keep erased data.
CREATE TABLE consciousness_metrics_hourly (
    conversation_id uuid NOT NULL REFERENCES conversations,
    bucket          timestamptz NOT NULL,
    samples         bigint NOT NULL,
    phi             double precision,
    ccc             double precision,
    trust           double precision,
    emergence       double precision,
    drift           double precision,
    PRIMARY KEY (conversation_id, bucket)
);
CREATE TABLE rollup_watermarks (
    series text PRIMARY KEY,
    upto   timestamptz NOT NULL
);
INSERT INTO rollup_watermarks VALUES ('consciousness_metrics_hourly', '-infinity');

-- Recomputes every hour from the watermark's on, so that rows that arrive late within the last hour count. Hours
-- are recomputed whole: a clock that is behind must not take away what a faster one counted.
CREATE FUNCTION ccn_refresh_rollups(upto timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE since timestamptz; written bigint;
BEGIN
    SELECT w.upto INTO since FROM rollup_watermarks w WHERE series = 'consciousness_metrics_hourly' FOR UPDATE;
    INSERT INTO consciousness_metrics_hourly AS h
    SELECT conversation_id, ccn_bucket('1 hour', ts), count(*), avg(phi), avg(ccc), avg(trust), avg(emergence), avg(drift)
    FROM consciousness_metrics WHERE ts >= since AND ts < ccn_bucket('1 hour', ccn_refresh_rollups.upto) + interval '1 hour'
    GROUP BY 1, 2
    ON CONFLICT (conversation_id, bucket) DO UPDATE SET (samples, phi, ccc, trust, emergence, drift)
        = (EXCLUDED.samples, EXCLUDED.phi, EXCLUDED.ccc, EXCLUDED.trust, EXCLUDED.emergence, EXCLUDED.drift);
    GET DIAGNOSTICS written = ROW_COUNT;
    UPDATE rollup_watermarks w SET upto = greatest(w.upto, ccn_bucket('1 hour', ccn_refresh_rollups.upto) - interval '1 hour')
    WHERE series = 'consciousness_metrics_hourly';
    RETURN written;
END $$;
