-- The spine: owners, devices, leads, campaigns, and the ledger of messages.
-- All times are UTC.  Works on MariaDB 10.6+ and MySQL 5.7+; every statement ends with ";" at a line's end.

CREATE TABLE users (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(190) NOT NULL,
  created_at DATETIME(3) NOT NULL,
  UNIQUE KEY users_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- A sender account.  config_version counts changes of what Redis must know (pace, status);
-- steered_version is the last one that Redis was told.
CREATE TABLE devices (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  name VARCHAR(190) NOT NULL,
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  sender VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT 'log',
  sender_ref VARCHAR(190) NOT NULL DEFAULT '',
  status ENUM('active','paused','offline','removed') NOT NULL DEFAULT 'active',
  status_reason VARCHAR(190) NOT NULL DEFAULT '',
  time_zone VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT 'UTC',
  min_gap_ms INT UNSIGNED NOT NULL DEFAULT 5000,
  max_gap_ms INT UNSIGNED NOT NULL DEFAULT 15000,
  batch_size INT UNSIGNED NOT NULL DEFAULT 0,
  batch_pause_ms INT UNSIGNED NOT NULL DEFAULT 0,
  hourly_cap INT UNSIGNED NOT NULL DEFAULT 0,
  daily_cap INT UNSIGNED NOT NULL DEFAULT 0,
  quiet_from SMALLINT NOT NULL DEFAULT -1,
  quiet_to SMALLINT NOT NULL DEFAULT -1,
  max_in_flight SMALLINT UNSIGNED NOT NULL DEFAULT 1,
  when_offline ENUM('hold','skip') NOT NULL DEFAULT 'hold',
  config_version INT UNSIGNED NOT NULL DEFAULT 1,
  steered_version INT UNSIGNED NOT NULL DEFAULT 0,
  unsteered TINYINT GENERATED ALWAYS AS (IF(config_version <> steered_version, 1, 0)) STORED,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY devices_user_name (user_id, name),
  KEY devices_status (status, id),
  KEY devices_unsteered (unsteered, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE leads (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  name VARCHAR(190) NOT NULL DEFAULT '',
  niche VARCHAR(64) NOT NULL DEFAULT '',
  target_status VARCHAR(64) NOT NULL DEFAULT '',
  attributes TEXT NULL,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY leads_device_phone (device_id, phone),
  KEY leads_device (device_id, id),
  KEY leads_user_phone (user_id, phone)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Where an import stands, so that one that was cut off goes on behind the last committed batch.
CREATE TABLE lead_imports (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  fingerprint CHAR(32) CHARACTER SET ascii NOT NULL,
  byte_offset BIGINT UNSIGNED NOT NULL DEFAULT 0,
  line_number BIGINT UNSIGNED NOT NULL DEFAULT 0,
  inserted BIGINT UNSIGNED NOT NULL DEFAULT 0,
  updated BIGINT UNSIGNED NOT NULL DEFAULT 0,
  refused BIGINT UNSIGNED NOT NULL DEFAULT 0,
  finished_at DATETIME(3) NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY lead_imports_file (user_id, fingerprint)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE opt_outs (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  source VARCHAR(64) NOT NULL DEFAULT '',
  created_at DATETIME(3) NOT NULL,
  UNIQUE KEY opt_outs_user_phone (user_id, phone)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- steered: what Redis was last told of this campaign.  The audience cursor (device, lead) and the
-- upper bound of the snapshot are moved in the transaction that inserts the rows.
CREATE TABLE campaigns (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  name VARCHAR(190) NOT NULL,
  status ENUM('draft','scheduled','running','paused','finished','cancelled') NOT NULL DEFAULT 'draft',
  steered ENUM('none','paused','cancelled') NOT NULL DEFAULT 'none',
  content TEXT NOT NULL,
  niche VARCHAR(64) NOT NULL DEFAULT '',
  target_status VARCHAR(64) NOT NULL DEFAULT '',
  scheduled_at DATETIME(3) NULL,
  min_gap_ms INT UNSIGNED NULL,
  max_gap_ms INT UNSIGNED NULL,
  batch_size INT UNSIGNED NULL,
  batch_pause_ms INT UNSIGNED NULL,
  max_lateness_s INT UNSIGNED NOT NULL DEFAULT 0,
  max_attempts SMALLINT UNSIGNED NOT NULL DEFAULT 5,
  on_unknown ENUM('hold','resend','assume_sent') NOT NULL DEFAULT 'hold',
  audience_max_lead BIGINT UNSIGNED NULL,
  cursor_device BIGINT UNSIGNED NOT NULL DEFAULT 0,
  cursor_lead BIGINT UNSIGNED NOT NULL DEFAULT 0,
  expanded_at DATETIME(3) NULL,
  total INT UNSIGNED NOT NULL DEFAULT 0,
  n_pending INT UNSIGNED NOT NULL DEFAULT 0,
  n_sent INT UNSIGNED NOT NULL DEFAULT 0,
  n_failed INT UNSIGNED NOT NULL DEFAULT 0,
  n_skipped INT UNSIGNED NOT NULL DEFAULT 0,
  n_unknown INT UNSIGNED NOT NULL DEFAULT 0,
  counted_at DATETIME(3) NULL,
  started_at DATETIME(3) NULL,
  finished_at DATETIME(3) NULL,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY campaigns_user_name (user_id, name),
  KEY campaigns_due (status, scheduled_at),
  KEY campaigns_steer (status, steered)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE campaign_devices (
  campaign_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (campaign_id, device_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- The ledger: one row per message, and the only place where a message is declared finished.
-- job_id is the natural key as text (c<campaign>-d<device>-<hash of phone>-r<rotation>): the unique key
-- on it refuses a second row for the same message whoever makes it.
CREATE TABLE broadcast_messages (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  job_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  kind ENUM('campaign','sequence','recurring','direct') NOT NULL DEFAULT 'campaign',
  campaign_id BIGINT UNSIGNED NULL,
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
  UNIQUE KEY messages_job (job_id),
  UNIQUE KEY messages_campaign_recipient (campaign_id, recipient_phone, device_id),
  KEY messages_claim (status, device_id, scheduled_at, id, campaign_id),
  KEY messages_processing (status, processing_started_at, id),
  KEY messages_queued (status, queued_at, id),
  KEY messages_expiry (status, expires_at, id),
  KEY messages_decide (status, decide_at, id),
  KEY messages_campaign_status (campaign_id, status, device_id),
  KEY messages_phone (recipient_phone)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One line an attempt or decision: what `paceline message trace` shows.  The unique key makes writing a
-- result twice harmless.
CREATE TABLE message_events (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  message_id BIGINT UNSIGNED NOT NULL,
  gen INT UNSIGNED NOT NULL,
  token BIGINT UNSIGNED NOT NULL DEFAULT 0,
  event VARCHAR(16) CHARACTER SET ascii NOT NULL,
  actor VARCHAR(96) NOT NULL DEFAULT '',
  happened_at DATETIME(3) NOT NULL,
  code VARCHAR(32) NOT NULL DEFAULT '',
  detail VARCHAR(255) NOT NULL DEFAULT '',
  send_ms INT UNSIGNED NULL,
  UNIQUE KEY message_events_once (message_id, gen, token, event)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Workers that were alive lately, as the reapers saw them: if Redis forgets the fleet, this list still
-- says who has to report before a partition may be opened again.
CREATE TABLE fleet_members (
  name VARCHAR(96) CHARACTER SET ascii NOT NULL PRIMARY KEY,
  seen_at DATETIME(3) NOT NULL,
  KEY fleet_members_seen (seen_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
