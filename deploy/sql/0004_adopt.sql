-- Taking over an existing database (paceline adopt).  A source is the name of that database.

-- options are those that decide what becomes of a row: all runs of one adoption have the same.
-- begun_at is what lateness is measured against, whenever a run goes on.
CREATE TABLE adoption_sources (
  source VARCHAR(64) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  options TEXT NOT NULL,
  begun_at DATETIME(3) NOT NULL,
  finished_at DATETIME(3) NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Moved in the transaction that writes the rows of a batch.
CREATE TABLE adoption_cursors (
  source VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  table_name VARCHAR(32) CHARACTER SET ascii NOT NULL,
  last_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  n BIGINT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (source, table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One line for each row of the old database that was dealt with; new_id NULL: left out, for this reason.
CREATE TABLE adoptions (
  source VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  table_name VARCHAR(32) CHARACTER SET ascii NOT NULL,
  old_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  new_id BIGINT UNSIGNED NULL,
  old_status VARCHAR(64) NOT NULL DEFAULT '',
  new_status VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT '',
  reason VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  PRIMARY KEY (source, table_name, old_id),
  KEY adoptions_new (source, table_name, new_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
