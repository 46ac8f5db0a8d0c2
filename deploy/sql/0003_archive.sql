-- The archive: final messages that nobody needs any more every day (docs/archive.md).  All times are UTC.
-- Both tables have the columns of their originals, by name and type, and archived_at: whoever adds a column to
-- broadcast_messages or message_events adds it here in the same migration, or nothing is archived any more.

-- job_id stays unique, for that is what tells a row that was made again.
CREATE TABLE broadcast_messages_archive (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  job_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  kind ENUM('campaign','sequence','recurring','direct') NOT NULL DEFAULT 'campaign',
  campaign_id BIGINT UNSIGNED NULL,
  sequence_id BIGINT UNSIGNED NULL,
  sequence_stepid BIGINT UNSIGNED NULL,
  rotation SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  recurring_id BIGINT UNSIGNED NULL,
  occurrence_at DATETIME(3) NULL,
  lead_id BIGINT UNSIGNED NULL,
  recipient_phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  recipient_name VARCHAR(190) NOT NULL DEFAULT '',
  content TEXT NULL,
  scheduled_at DATETIME(3) NOT NULL,
  expires_at DATETIME(3) NULL,
  status ENUM('pending','processing','queued','sent','failed','skipped','unknown') NOT NULL DEFAULT 'pending',
  gen INT UNSIGNED NOT NULL DEFAULT 0,
  attempt SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  deferrals SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  unknowns SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  processing_worker_id VARCHAR(64) CHARACTER SET ascii NULL,
  processing_started_at DATETIME(3) NULL,
  queued_at DATETIME(3) NULL,
  decide_at DATETIME(3) NULL,
  sent_at DATETIME(3) NULL,
  provider_message_id VARCHAR(190) NULL,
  error_class VARCHAR(32) CHARACTER SET ascii NULL,
  error_message VARCHAR(255) NULL,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  archived_at DATETIME(3) NOT NULL,
  UNIQUE KEY archive_job (job_id),
  KEY archive_campaign_recipient (campaign_id, recipient_phone, device_id),
  KEY archive_campaign (campaign_id, status),
  KEY archive_sequence (sequence_id, status),
  KEY archive_recurring (recurring_id, status),
  KEY archive_occurrence (recurring_id, occurrence_at),
  KEY archive_user (user_id, status, kind),
  KEY archive_phone (recipient_phone)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- What happened to them goes along.
CREATE TABLE message_events_archive (
  id BIGINT UNSIGNED NOT NULL,
  message_id BIGINT UNSIGNED NOT NULL,
  gen INT UNSIGNED NOT NULL,
  token BIGINT UNSIGNED NOT NULL DEFAULT 0,
  event VARCHAR(16) CHARACTER SET ascii NOT NULL,
  actor VARCHAR(96) NOT NULL DEFAULT '',
  happened_at DATETIME(3) NOT NULL,
  code VARCHAR(32) NOT NULL DEFAULT '',
  detail VARCHAR(255) NOT NULL DEFAULT '',
  send_ms INT UNSIGNED NULL,
  archived_at DATETIME(3) NOT NULL,
  PRIMARY KEY (message_id, gen, token, event)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Messages that were brought back: their retention begins anew at restored_at, and the row itself stays as
-- it was.
CREATE TABLE broadcast_messages_restored (
  message_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  restored_at DATETIME(3) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
