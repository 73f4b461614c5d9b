"""A database with one of everything that MariaDB can hold, and a look at it by stock tools alone."""

# ruff: noqa: E501 - statements are easier to read on one line

from __future__ import annotations

import subprocess

from tests.servers.mariadb import MariadbServer

EVERYTHING = "every_thing"

_TYPES = (
    "CREATE TABLE numbers_at_limits (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, "
    "s SMALLINT, m MEDIUMINT, i INT, b BIGINT, bu BIGINT UNSIGNED, z INT(8) ZEROFILL, d DECIMAL(65, 30), "
    "f DOUBLE, g DOUBLE(10, 3), bits BIT(64), y YEAR, yes BOOLEAN) AUTO_INCREMENT = 900 COMMENT 'it''s; \"odd\"'",
    "INSERT INTO numbers_at_limits VALUES "
    "(1, -128, 255, -32768, -8388608, -2147483648, -9223372036854775808, 18446744073709551615, 7, "
    "-12345678901234567890123456789012345.123456789012345678901234567890, 1.7976931348623157e308, 1.5, "
    "b'1000000000000000000000000000000000000000000000000000000000000001', 1901, TRUE), "
    "(2, 127, 0, 32767, 8388607, 2147483647, 9223372036854775807, 0, 12345678, 0.000000000000000000000000000001, "
    "2.2250738585072014e-308, -0.001, b'0', 2155, FALSE), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "
    "NULL, -0e0, NULL, NULL, NULL, NULL)",
    "CREATE TABLE moments (id INT PRIMARY KEY, d DATE, t TIME(6), dt DATETIME(6), ts TIMESTAMP(6) NULL, "
    "at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) "
    "ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
    "INSERT INTO moments VALUES (1, '9999-12-31', '838:59:59.999999', '9999-12-31 23:59:59.999999', "
    "'2038-01-19 08:14:07.999999', '2026-03-29 02:30:00'), (2, '0000-00-00', '-838:59:59.999999', "
    "'0000-00-00 00:00:00', '1970-01-01 05:00:01', '2026-10-25 02:30:00')",
    "CREATE TABLE texts (id INT PRIMARY KEY, c CHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci, "
    "v VARCHAR(100) COLLATE utf8mb4_unicode_520_nopad_ci, x TEXT CHARACTER SET ucs2, l LONGTEXT COMPRESSED, "
    "e ENUM('it''s', 'ß', '') DEFAULT 'ß', st SET('a', 'b c'), j JSON, u UUID DEFAULT UUID(), i6 INET6, i4 INET4, "
    "FULLTEXT KEY found (v)) DEFAULT CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC",
    "INSERT INTO texts VALUES (1, 'Straße', 'a😀\\\\\\0\\n\\t\\'\"`-- ', 'ünï', REPEAT('long ', 300), 'it''s', 'a,b c', "
    "'{\"a\": [1, null, \"ü\"]}', '00112233-4455-6677-8899-aabbccddeeff', '2001:db8::ff', '192.168.0.1'), "
    "(2, 'x  ', '', NULL, '', '', '', NULL, NULL, NULL, NULL)",
    "CREATE TABLE bytes (id INT PRIMARY KEY, b BINARY(5), v VARBINARY(300), o BLOB, l LONGBLOB, h BLOB COMPRESSED)",
    "INSERT INTO bytes VALUES (1, x'00ff0a', x'0d0a00275c', REPEAT(x'deadbeef', 100), REPEAT(x'00', 1500), x'1a')",
    "CREATE TABLE shapes (id INT PRIMARY KEY, p POINT REF_SYSTEM_ID=4326 NOT NULL, g GEOMETRY, mp MULTIPOLYGON, "
    "gc GEOMETRYCOLLECTION, SPATIAL KEY near (p))",
    "INSERT INTO shapes VALUES (1, ST_GeomFromText('POINT(1.5 -2.25)', 4326), "
    "ST_GeomFromText('LINESTRING(0 0, 1 1)'), "
    "ST_GeomFromText('MULTIPOLYGON(((0 0, 0 3, 3 3, 3 0, 0 0)))'), "
    "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 2 2))'))",
)
_RULES = (
    "CREATE TABLE parents (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL, born DATE, UNIQUE KEY named (name), "
    "KEY falling (born DESC), KEY unused (born) IGNORED, KEY start (name(10)) COMMENT 'first; letters')",
    "INSERT INTO parents VALUES (1, 'Müller', '1950-01-01'), (2, 'O''Brien', NULL)",
    "CREATE TABLE children (id INT PRIMARY KEY, parent INT, cents INT NOT NULL CHECK (cents >= 0), "
    "rate DECIMAL(5, 2) DEFAULT (1 + 1.5), secret INT INVISIBLE DEFAULT 7, "
    "euros DECIMAL(12, 2) AS (cents / 100) STORED, twice INT AS (cents * 2) VIRTUAL COMMENT 'computed', "
    "CONSTRAINT sane CHECK (rate BETWEEN 0 AND 100 AND cents <> 13), KEY by_twice (twice), "
    "CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE SET NULL ON UPDATE CASCADE)",
    "INSERT INTO children (id, parent, cents, rate, secret) VALUES (1, 1, 150, 2.5, 9), (2, NULL, 0, 0, NULL)",
    "CREATE TABLE yearly (id INT NOT NULL, on_day DATE NOT NULL, note VARCHAR(20), PRIMARY KEY (id, on_day)) "
    "PARTITION BY RANGE (YEAR(on_day)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 "
    "(PARTITION p0 VALUES LESS THAN (2025) COMMENT = 'old; ones', PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO yearly VALUES (1, '2024-05-05', 'then'), (2, '2026-05-05', 'now')",
    "CREATE TABLE listed (k VARCHAR(5) NOT NULL PRIMARY KEY) PARTITION BY LIST COLUMNS (k) "
    "(PARTITION pa VALUES IN ('a', 'it''s'), PARTITION pb VALUES IN ('b'))",
    "INSERT INTO listed VALUES ('a'), ('b')",
    "CREATE TABLE kept (id INT PRIMARY KEY, note TEXT, plain INT WITHOUT SYSTEM VERSIONING) WITH SYSTEM VERSIONING",
    "INSERT INTO kept VALUES (1, 'first', 1), (2, 'second', 2)",
    "UPDATE kept SET note = 'changed' WHERE id = 1",
    "DELETE FROM kept WHERE id = 2",
    "CREATE TABLE kept_by_name (id INT PRIMARY KEY, since TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE, "
    "until TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (since, until)) "
    "WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION ph HISTORY, PARTITION pc CURRENT)",
    "INSERT INTO kept_by_name (id) VALUES (1), (2)",
    "DELETE FROM kept_by_name WHERE id = 2",
    "CREATE TABLE rooms (room INT, a DATE, b DATE, PERIOD FOR booked (a, b), UNIQUE (room, booked WITHOUT OVERLAPS))",
    "INSERT INTO rooms VALUES (1, '2026-01-01', '2026-01-05'), (1, '2026-01-05', '2026-01-09')",
    "CREATE TABLE paged (id INT PRIMARY KEY, t TEXT) PAGE_COMPRESSED=1 PAGE_COMPRESSION_LEVEL=9 "
    "STATS_PERSISTENT=1 STATS_SAMPLE_PAGES=30",
    "CREATE TABLE `odd; -- name` (`a column` INT, `select` INT, `q``q` INT, UNIQUE KEY `odd key` (`q``q`))",
    "INSERT INTO `odd; -- name` VALUES (1, 2, 3), (1, 2, NULL)",
)
_CODE = (
    "CREATE SEQUENCE tickets START WITH 100 INCREMENT BY 5 CACHE 10",
    "SELECT NEXTVAL(tickets)",
    "CREATE SEQUENCE falling START WITH -1 INCREMENT BY -1 MINVALUE -100 MAXVALUE -1 NOCACHE CYCLE",
    "SELECT NEXTVAL(falling)",
    "ALTER TABLE paged ADD COLUMN ticket BIGINT DEFAULT (NEXTVAL(tickets))",
    "CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC NO SQL COMMENT 'it''s' RETURN n * 2",
    "CREATE PROCEDURE balance(IN a INT, OUT b DECIMAL(12, 2)) READS SQL DATA SQL SECURITY INVOKER "
    "BEGIN\n  -- a remark; with 'quotes'\n  SELECT SUM(euros) INTO b FROM children WHERE id > a;\nEND",
    "CREATE AGGREGATE FUNCTION counted(x INT) RETURNS INT BEGIN DECLARE n INT DEFAULT 0; "
    "DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN n; LOOP FETCH GROUP NEXT ROW; SET n = n + 1; END LOOP; END",
    "CREATE TRIGGER first_one BEFORE INSERT ON children FOR EACH ROW SET NEW.rate = IFNULL(NEW.rate, 1)",
    "CREATE TRIGGER second_one BEFORE INSERT ON children FOR EACH ROW FOLLOWS first_one SET @note = 'it''s; -- x'",
    "CREATE TRIGGER zeroth BEFORE INSERT ON children FOR EACH ROW PRECEDES first_one SET @before = 'ünï'",
    "CREATE VIEW grown AS SELECT id, name FROM parents WHERE born < '2000-01-01' WITH CASCADED CHECK OPTION",
    "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW abroad AS SELECT g.id, doubled(g.id) AS d FROM grown g",
    "CREATE EVENT nightly ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2026-01-01 02:00:00' "
    "ON COMPLETION PRESERVE DISABLE COMMENT 'it''s' DO DELETE FROM yearly WHERE FALSE",
    "CREATE EVENT hourly ON SCHEDULE EVERY 1 HOUR STARTS '2026-01-01 00:00:00' DO BEGIN SET @x = 1; END",
    "CREATE EVENT some_day ON SCHEDULE AT '2037-01-01 00:00:00' DO SELECT 1",
    "CREATE EVENT for_a_while ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ENDS '2037-01-01 00:00:00' "
    "DO SELECT 1",
    "SET sql_mode = 'ORACLE'",
    "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END",
    "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END",
)


def create_everything(server: MariadbServer, database: str = EVERYTHING) -> None:
    """The database, anew."""
    server.run(
        f"DROP DATABASE IF EXISTS `{database}`",
        f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci COMMENT 'it''s all; here'",
    )
    server.run("SET sql_mode = 'ALLOW_INVALID_DATES'", *_TYPES, *_RULES, *_CODE, database=database)


def independent_look(server: MariadbServer, database: str = EVERYTHING) -> str:
    """The database as the stock mariadb-dump writes it, and the server's own checksum of every table."""
    command = ["mariadb-dump", "--no-defaults", f"--socket={server.socket}", "--user=root", "--dump-history"]
    command += [
        "--skip-dump-date",
        "--routines",
        "--events",
        "--triggers",
        "--hex-blob",
        "--order-by-primary",
    ]
    command += ["--skip-extended-insert", "--databases", database]
    dump = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8")
    tables = (
        "SELECT CONCAT('CHECKSUM TABLE `', REPLACE(TABLE_NAME, '`', '``'), '` EXTENDED;') "
        f"FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' AND TABLE_TYPE <> 'VIEW' "
        "ORDER BY TABLE_NAME"
    )
    client = ["mariadb", "--no-defaults", f"--socket={server.socket}", "--user=root", "-N", database]
    asked = subprocess.run([*client, "-e", tables], check=True, capture_output=True, text=True).stdout
    sums = subprocess.run(client, input=asked, check=True, capture_output=True, text=True).stdout
    return dump + sums
