"""A practice's database with a little of everything that PostgreSQL can hold, for tests."""

from __future__ import annotations

from tests.servers.postgresql import PostgresqlServer

LONG = 300_000
EVERYTHING = (
    'CREATE SCHEMA "Old Files"',
    "CREATE TYPE sex AS ENUM ('f', 'm', 'x')",
    "CREATE DOMAIN code AS text CHECK (length(VALUE) < 12)",
    """CREATE TABLE kinds (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, words text, fixed char(8),
        raw bytea, amount numeric, ratio float8, born date, at timestamptz, took interval, open boolean,
        who uuid, net inet, doc jsonb,
        plain json, list int[], texts text[], span int4range, money money, sex sex, code code,
        doubled int GENERATED ALWAYS AS (3 * 2) STORED, tsv tsvector)""",
    """INSERT INTO kinds (words, fixed, raw, amount, ratio, born, at, took, open, who, net, doc, plain, list,
        texts, span, money, sex, code, tsv)
        SELECT 'Zoë Ångström 😀 ' || i, 'ab', decode(md5(i::text), 'hex'), 1e30 + i, 0.1 + i, '2024-02-29',
        '2026-03-29 01:30+00', '1 mon 2 days 03:04:05.6', i % 2 = 0, gen_random_uuid(), '10.0.0.0/8',
        '{"b": 1, "a": [1, 2]}', '{"b":1,   "a":2}', ARRAY[i, NULL], ARRAY['a"b', 'NULL', ''],
        int4range(1, i), 12.5, 'x', 'abc', to_tsvector('simple', 'some words')
        FROM generate_series(1, 200) i""",
    """INSERT INTO kinds (words, amount, ratio, born, at, raw) VALUES
        (NULL, 'NaN', 'NaN', 'infinity', '-infinity', ''),
        ('', '-Infinity', 'Infinity', '-infinity', 'infinity', NULL),
        (E'tab\\tline\\nquote''"\\\\ {d ''2020-01-01''} ?', 0,
        '-0', '0044-03-15 BC', '9999-12-31', '\\x00ff')""",
    "CREATE TABLE letters (id int PRIMARY KEY, body text, scan bytea)",
    f"INSERT INTO letters SELECT i, repeat('äö😀 ', {LONG // 4}) || i, decode(repeat('00ff', {LONG}), 'hex') "
    "FROM generate_series(1, 5) i",
    'CREATE TABLE "Old Files"."Näme ""quoted""" ("Key" text PRIMARY KEY, "select" int)',
    'INSERT INTO "Old Files"."Näme ""quoted""" VALUES (\'k\', 1)',
    "CREATE TABLE nothing ()",
    "INSERT INTO nothing DEFAULT VALUES",
    "CREATE TABLE visits (id bigint, at date NOT NULL, note text) PARTITION BY RANGE (at)",
    "CREATE TABLE visits_2025 PARTITION OF visits FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "CREATE TABLE visits_rest PARTITION OF visits DEFAULT",
    "CREATE INDEX visits_at ON visits (at)",
    "INSERT INTO visits SELECT i, date '2025-06-01' + i, 'note ' || i FROM generate_series(1, 400) i",
    "CREATE TABLE parents (id int)",
    "CREATE TABLE children () INHERITS (parents)",
    "INSERT INTO parents VALUES (1)",
    "INSERT INTO children VALUES (2), (3)",
    "CREATE UNLOGGED TABLE sessions (id int)",
    "INSERT INTO sessions SELECT generate_series(1, 50)",
    "CREATE MATERIALIZED VIEW busy_days AS SELECT at, count(*) AS n FROM visits GROUP BY at",
    "INSERT INTO visits VALUES (999, '2025-06-02', 'after the refresh')",
    "CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA",
    "CREATE VIEW adults AS SELECT id, words FROM kinds WHERE id > 18",
    "CREATE SEQUENCE invoice START 1000",
    "SELECT nextval('invoice'), nextval('invoice')",
    "CREATE SEQUENCE untouched",
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER touched BEFORE UPDATE ON letters FOR EACH ROW EXECUTE FUNCTION touch()",
    "CREATE TRIGGER visited BEFORE UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION touch()",
    "CREATE RULE keep AS ON DELETE TO parents DO INSTEAD NOTHING",
    "ALTER TABLE letters ADD CONSTRAINT known CHECK (id < 1000)",
    "CREATE TABLE secrets (id int, owner text)",
    "INSERT INTO secrets VALUES (1, 'dr. a'), (2, 'dr. b')",
    "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE secrets FORCE ROW LEVEL SECURITY",
    "CREATE POLICY own_only ON secrets TO bk_phys USING (owner = current_user)",
    "CREATE EXTENSION pg_trgm",
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER production FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1')",
    "CREATE USER MAPPING FOR PUBLIC SERVER production OPTIONS (user 'x', password 'y')",
    "CREATE FOREIGN TABLE elsewhere (id int) SERVER production",
    "CREATE INDEX letters_words ON kinds USING gin (words gin_trgm_ops)",
    "SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex')), lo_from_bytea(0, 'x')",
    "CREATE PUBLICATION all_of_it FOR ALL TABLES",
    "CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql "
    "AS 'BEGIN RAISE EXCEPTION ''no DDL''; END'",
    "CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION guard()",
    "CHECKPOINT",
)


def create_practice(server: PostgresqlServer, database: str) -> str:
    """The database, with large objects that bk_dump may read."""
    server.create(database)
    server.sql(database, *EVERYTHING)
    server.sql("postgres", "ALTER ROLE bk_dump SET lo_compat_privileges = on")
    # What a database's own settings do to a session must not change what is read.
    server.sql("postgres", f"ALTER DATABASE \"{database}\" SET DateStyle = 'German'")
    server.sql("postgres", f"ALTER DATABASE \"{database}\" SET session_preload_libraries = 'auto_explain'")
    return database
