-- What each role may do. Roles belong to a server and not to a database, so they may be there or not: who makes them
-- asks ccn_grants() what they get, and every migration that changes anything gives it anew where they are.

-- Taking old measures out needs the owner of a series where it is cut into chunks. A node has only this way, to
-- these three series. Whoever may make tables of a session's own could lend one under their name, with a trigger
-- that would run as the owner: so the series has to be the owner's.
CREATE OR REPLACE FUNCTION ccn_forget(series regclass, time_column name, before timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE gone bigint;
BEGIN
    IF time_column <> 'ts' OR NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
        WHERE c.oid = series AND r.rolname = current_user AND c.relpersistence = 'p'
          AND c.relname IN ('character_evolution', 'relational_evolution', 'consciousness_metrics')) THEN
        RAISE EXCEPTION '% is no series that is forgotten', series USING ERRCODE = 'CCN01';
    END IF;
    IF ccn_database_mode() = 'plain' THEN
        EXECUTE format('DELETE FROM %s WHERE ts < $1', series) USING before;
        GET DIAGNOSTICS gone = ROW_COUNT;
    ELSE
        EXECUTE 'SELECT count(*) FROM drop_chunks($1, older_than => $2)' INTO gone USING series, before;
    END IF;
    RETURN gone;
END $$;
DO $$
DECLARE
    extension text := (SELECT format('%I, ', n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                       WHERE e.extname = 'timescaledb' AND n.nspname <> current_schema());
BEGIN
    EXECUTE format('ALTER FUNCTION ccn_forget(regclass, name, timestamptz) SECURITY DEFINER SET search_path = %I, %spg_temp',
                   current_schema(), extension);
END $$;
REVOKE EXECUTE ON FUNCTION ccn_forget(regclass, name, timestamptz) FROM PUBLIC;

-- A node adds rows everywhere, and changes or deletes them where no trigger refuses that to everybody anyway. It owns
-- nothing, so it turns no trigger off. An auditor reads the record, and nothing that people said, called their
-- conversations or sign in with.
CREATE FUNCTION ccn_grants() RETURNS TABLE (step integer, grantee text, statement text) LANGUAGE sql STABLE AS $$
    WITH tables AS (
        SELECT c.oid, c.oid::regclass AS name, c.relname,
               coalesce(bool_or(t.tgtype::integer & 16 <> 0), false) AS stays,
               coalesce(bool_or(t.tgtype::integer & 8 <> 0), false) AS is_kept
        FROM pg_class c LEFT JOIN pg_trigger t
            ON t.tgrelid = c.oid AND t.tgfoid = 'ccn_refuse_change'::regproc AND t.tgqual IS NULL
               AND cardinality(t.tgattr::smallint[]) = 0
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        GROUP BY c.oid, c.relname
    ), hidden (relname, attname) AS (VALUES
        ('messages', 'content'), ('messages', 'salt'), ('messages', 'idempotency_key'),
        ('turns', 'idempotency_key'), ('conversations', 'title'),
        ('users', 'name'), ('users', 'password_hash'), ('users', 'generation')
    ), audited (relname) AS (VALUES
        ('users'), ('characters'), ('leaf_sources'), ('leaves'), ('plates'), ('conversations'),
        ('conversation_versions'), ('turns'), ('messages'), ('redactions'), ('instance_registry'), ('instance_lives'),
        ('character_evolution'), ('relational_evolution'), ('consciousness_metrics'), ('cluster_origin'),
        ('cluster_term'), ('consensus_log'), ('verification_chain'), ('block_leaves'), ('block_trees'),
        ('block_rules'), ('block_reports'), ('block_rosters'), ('block_results'), ('votes'), ('checkpoints'),
        ('cosignatures'), ('evidence'), ('operator_requests'), ('nodes'), ('schema_migrations')
    ), read AS (
        SELECT t.name, string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM tables t JOIN audited USING (relname)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN hidden h ON h.relname = t.relname AND h.attname = a.attname
        WHERE h.attname IS NULL
        GROUP BY t.name
    )
    SELECT 1, role, format('GRANT USAGE ON SCHEMA %I TO %s', current_schema(), role)
    FROM unnest(ARRAY['ccn_node', 'ccn_auditor']) AS role
    UNION ALL
    SELECT 2, role, format('REVOKE ALL ON %s FROM %s', name, role)
    FROM tables, unnest(ARRAY['ccn_node', 'ccn_auditor']) AS role
    UNION ALL
    SELECT 3, 'ccn_node', format('GRANT SELECT%s%s%s ON %s TO ccn_node',
                                 CASE WHEN relname <> 'schema_migrations' THEN ', INSERT' END,
                                 CASE WHEN relname <> 'schema_migrations' AND NOT stays THEN ', UPDATE' END,
                                 CASE WHEN relname <> 'schema_migrations' AND NOT is_kept THEN ', DELETE' END, name)
    FROM tables
    UNION ALL
    SELECT 3, 'ccn_node', format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO ccn_node', current_schema())
    UNION ALL
    SELECT 3, 'ccn_node', 'GRANT EXECUTE ON FUNCTION ccn_forget(regclass, name, timestamptz) TO ccn_node'
    UNION ALL
    SELECT 3, 'ccn_auditor', format('GRANT SELECT (%s) ON %s TO ccn_auditor', columns, name) FROM read
$$;

-- Gives it to those that are there; how many statements that took.
CREATE FUNCTION ccn_grant() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE wanted text; ran bigint := 0;
BEGIN
    FOR wanted IN
        SELECT statement FROM ccn_grants() WHERE grantee IN (SELECT rolname FROM pg_roles) ORDER BY step, statement
    LOOP
        EXECUTE wanted;
        ran := ran + 1;
    END LOOP;
    RETURN ran;
END $$;
