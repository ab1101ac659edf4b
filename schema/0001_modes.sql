-- One schema, three modes: plain PostgreSQL, TimescaleDB Apache and TimescaleDB TSL.
-- Every difference between them is inside the functions of this file; no other file asks for the mode.

-- The loader of TimescaleDB must be preloaded, which shows as one of its settings before the extension exists
-- (timescaledb.license does not). CREATE EXTENSION without the loader would end the connection.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('timescaledb.max_background_workers', true) IS NOT NULL THEN
        BEGIN
            CREATE EXTENSION IF NOT EXISTS timescaledb;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING 'TimescaleDB is installed, but this role may not create the extension; going on without it';
        END;
    END IF;
END $$;

CREATE FUNCTION ccn_database_mode() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN 'plain'
        WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'tsl'
        ELSE 'apache'
    END
$$;

-- Large chunks: daily ones made reads of a state at a time ten times slower at ten million rows.
CREATE FUNCTION ccn_time_series(series regclass, time_column name, chunk interval DEFAULT '7 days')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF ccn_database_mode() <> 'plain' THEN
        EXECUTE 'SELECT create_hypertable($1, $2, chunk_time_interval => $3, if_not_exists => true,'
                ' create_default_indexes => false)' USING series, time_column, chunk;
    END IF;
END $$;

-- Deletes what is older; whole chunks at once where there are chunks. Says how many rows or chunks went.
CREATE FUNCTION ccn_forget(series regclass, time_column name, before timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE gone bigint;
BEGIN
    IF ccn_database_mode() = 'plain' THEN
        EXECUTE format('DELETE FROM %s WHERE %I < $1', series, time_column) USING before;
        GET DIAGNOSTICS gone = ROW_COUNT;
    ELSE
        EXECUTE 'SELECT count(*) FROM drop_chunks($1, older_than => $2)' INTO gone USING series, before;
    END IF;
    RETURN gone;
END $$;

-- Buckets start on Mondays in every mode: that is TimescaleDB's own origin, said aloud for date_bin.
DO $$
BEGIN
    IF ccn_database_mode() = 'plain' THEN
        CREATE FUNCTION ccn_bucket(width interval, at timestamptz) RETURNS timestamptz
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
        'SELECT date_bin(width, at, timestamptz ''2000-01-03 00:00:00+00'')';
    ELSE
        EXECUTE 'CREATE FUNCTION ccn_bucket(width interval, at timestamptz) RETURNS timestamptz
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS ''SELECT time_bucket(width, at)''';
    END IF;
END $$;

-- Rows that state a fact about the past are inserted once. Superusers can still do anything; the ledger shows it.
CREATE FUNCTION ccn_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is not allowed: its rows are history', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'CCN01', HINT = 'Content is removed by redaction, which keeps the row.';
END $$;
