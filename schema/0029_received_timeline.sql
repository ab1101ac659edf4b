-- oldest program: 27
-- Which timeline a standby receives tells at once after a failover whether it follows the new primary. PostgreSQL shows
-- it to members of pg_read_all_stats, who see everybody's statements as well. So the owner, who may be one, answers this
-- alone. Where the owner is none it is null, and what the standby writes on its disk now and then has to do.
CREATE FUNCTION ccn_received_timeline() RETURNS integer LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$ SELECT received_tli FROM pg_stat_wal_receiver $$;
