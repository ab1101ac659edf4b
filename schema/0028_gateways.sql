-- oldest program: 27
-- A gateway has doors and nothing else: it reads what they show and writes nothing, not even a request of an operator.
-- What only signing in needs, and the salts under which the words of messages are committed to, it does not read.
CREATE OR REPLACE FUNCTION ccn_grants() RETURNS TABLE (step integer, grantee text, statement text) LANGUAGE sql STABLE AS $$
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
    ), withheld (relname, attname) AS (VALUES
        ('users', 'password_hash'), ('refresh_tokens', 'hash'), ('messages', 'salt')
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
    ), served AS (
        SELECT t.name, string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN withheld w ON w.relname = t.relname AND w.attname = a.attname
        WHERE w.attname IS NULL
        GROUP BY t.name
    )
    SELECT 1, role, format('GRANT USAGE ON SCHEMA %I TO %s', current_schema(), role)
    FROM unnest(ARRAY['ccn_node', 'ccn_auditor', 'ccn_gateway']) AS role
    UNION ALL
    SELECT 2, role, format('REVOKE ALL ON %s FROM %s', name, role)
    FROM tables, unnest(ARRAY['ccn_node', 'ccn_auditor', 'ccn_gateway']) AS role
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
    UNION ALL
    SELECT 3, 'ccn_gateway', format('GRANT SELECT (%s) ON %s TO ccn_gateway', columns, name) FROM served
$$;
