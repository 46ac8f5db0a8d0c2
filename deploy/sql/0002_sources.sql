-- Sequences, recurring messages and direct messages: where rows come from besides campaigns.
-- All times are UTC, unless a column is named _local.  The tables of sources share the columns that stop
-- and pace their messages: status, steered, min_gap_ms to on_unknown, finished_at.

-- trigger: the word that enrols a lead in the sequence of that word, once for each change; trigger_seen is
-- the word that has been acted upon.
ALTER TABLE leads
  ADD COLUMN `trigger` VARCHAR(64) NOT NULL DEFAULT '' AFTER target_status,
  ADD COLUMN trigger_seen VARCHAR(64) NOT NULL DEFAULT '' AFTER `trigger`,
  ADD COLUMN trigger_pending TINYINT GENERATED ALWAYS AS (IF(`trigger` <> trigger_seen, 1, 0)) STORED,
  ADD KEY leads_triggered (trigger_pending, user_id, `trigger`, device_id, id);

-- An opt-out is noted in the rows that were planned before it: steered = 1 when that is done.
-- Those that are there already were asked when rows were made.
ALTER TABLE opt_outs
  ADD COLUMN steered TINYINT NOT NULL DEFAULT 1,
  ADD KEY opt_outs_unsteered (steered, id);
ALTER TABLE opt_outs ALTER COLUMN steered SET DEFAULT 0;

ALTER TABLE broadcast_messages
  ADD COLUMN sequence_id BIGINT UNSIGNED NULL AFTER campaign_id,
  ADD COLUMN sequence_stepid BIGINT UNSIGNED NULL AFTER sequence_id,
  ADD COLUMN rotation SMALLINT UNSIGNED NOT NULL DEFAULT 0 AFTER sequence_stepid,
  ADD COLUMN recurring_id BIGINT UNSIGNED NULL AFTER rotation,
  ADD COLUMN occurrence_at DATETIME(3) NULL AFTER recurring_id,
  DROP KEY messages_claim,
  ADD KEY messages_claim (status, device_id, scheduled_at, id, campaign_id, sequence_id, recurring_id),
  ADD KEY messages_sequence (sequence_id, status, device_id),
  ADD KEY messages_recurring (recurring_id, status, occurrence_at);

ALTER TABLE campaigns ADD KEY campaigns_ended (status, finished_at);

-- start_after_s: from enrolment to the first step.  next_sequence_id follows next_after_s behind the last step;
-- its messages are made together with this one's.
CREATE TABLE sequences (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  name VARCHAR(190) NOT NULL,
  status ENUM('active','paused','cancelled') NOT NULL DEFAULT 'active',
  steered ENUM('none','paused','cancelled') NOT NULL DEFAULT 'none',
  `trigger` VARCHAR(64) NULL,
  all_devices TINYINT NOT NULL DEFAULT 0,
  start_after_s INT UNSIGNED NOT NULL DEFAULT 300,
  next_sequence_id BIGINT UNSIGNED NULL,
  next_after_s INT UNSIGNED NOT NULL DEFAULT 86400,
  min_gap_ms INT UNSIGNED NULL,
  max_gap_ms INT UNSIGNED NULL,
  batch_size INT UNSIGNED NULL,
  batch_pause_ms INT UNSIGNED NULL,
  max_lateness_s INT UNSIGNED NOT NULL DEFAULT 0,
  max_attempts SMALLINT UNSIGNED NOT NULL DEFAULT 5,
  on_unknown ENUM('hold','resend','assume_sent') NOT NULL DEFAULT 'hold',
  finished_at DATETIME(3) NULL,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY sequences_user_name (user_id, name),
  UNIQUE KEY sequences_user_trigger (user_id, `trigger`),
  KEY sequences_steer (status, steered),
  KEY sequences_ended (status, finished_at),
  KEY sequences_changed (updated_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- delay_s counts from the step before, or from the sequence's start for this contact.
CREATE TABLE sequence_steps (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  sequence_id BIGINT UNSIGNED NOT NULL,
  position SMALLINT UNSIGNED NOT NULL,
  content TEXT NOT NULL,
  delay_s INT UNSIGNED NOT NULL DEFAULT 0,
  delay_from ENUM('previous','enrolment') NOT NULL DEFAULT 'previous',
  UNIQUE KEY sequence_steps_position (sequence_id, position)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE sequence_devices (
  sequence_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (sequence_id, device_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Enrolments asked for by hand or by an application; a producer takes them off in the transaction that
-- makes the messages.  again: one more rotation for a lead that has been through.
CREATE TABLE sequence_requests (
  sequence_id BIGINT UNSIGNED NOT NULL,
  lead_id BIGINT UNSIGNED NOT NULL,
  again TINYINT NOT NULL DEFAULT 0,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (sequence_id, lead_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One contact's way through one sequence; entry_sequence_id is where its chain was entered.  The counts are
-- taken from its rows when it is looked at (check_at), and final when it has ended.
CREATE TABLE sequence_contacts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  sequence_id BIGINT UNSIGNED NOT NULL,
  user_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  lead_id BIGINT UNSIGNED NOT NULL,
  recipient_phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  rotation SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  entry_sequence_id BIGINT UNSIGNED NOT NULL,
  status ENUM('active','finished','left') NOT NULL DEFAULT 'active',
  reason VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  enrolled_at DATETIME(3) NOT NULL,
  first_at DATETIME(3) NULL,
  last_at DATETIME(3) NULL,
  check_at DATETIME(3) NULL,
  total SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  n_sent SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  n_failed SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  n_skipped SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  n_unknown SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  ended_at DATETIME(3) NULL,
  UNIQUE KEY sequence_contacts_once (sequence_id, device_id, recipient_phone, rotation),
  KEY sequence_contacts_check (check_at, id),
  KEY sequence_contacts_status (sequence_id, status),
  KEY sequence_contacts_phone (user_id, recipient_phone)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- A rule and its messages.  freq to gap_policy are what shared/recur.h reads; every counts days, weeks or
-- months, and seconds for an interval.  next_run_at is the next nominal instant (NULL: not planned yet), the
-- first one behind planned_after.  delay: manual = this gap, auto = the device's, adaptive = the device's times
-- gap_percent, which follows the outcomes of the run before.
CREATE TABLE recurring_messages (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  name VARCHAR(190) NOT NULL,
  status ENUM('active','paused','finished','cancelled') NOT NULL DEFAULT 'active',
  status_reason VARCHAR(190) NOT NULL DEFAULT '',
  steered ENUM('none','paused','cancelled') NOT NULL DEFAULT 'none',
  content TEXT NOT NULL,
  audience ENUM('leads','contacts') NOT NULL DEFAULT 'leads',
  all_devices TINYINT NOT NULL DEFAULT 0,
  niche VARCHAR(64) NOT NULL DEFAULT '',
  target_status VARCHAR(64) NOT NULL DEFAULT '',
  freq ENUM('daily','weekly','monthly','interval','cron') NOT NULL,
  every INT UNSIGNED NOT NULL DEFAULT 1,
  weekdays VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  month_days VARCHAR(128) CHARACTER SET ascii NOT NULL DEFAULT '',
  at_times VARCHAR(190) CHARACTER SET ascii NOT NULL DEFAULT '',
  cron VARCHAR(190) CHARACTER SET ascii NOT NULL DEFAULT '',
  time_zone VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT 'Asia/Kuala_Lumpur',
  start_local DATETIME NOT NULL,
  end_date_local DATE NULL,
  month_policy ENUM('clamp','skip') NOT NULL DEFAULT 'clamp',
  gap_policy ENUM('shift','skip') NOT NULL DEFAULT 'shift',
  catch_up ENUM('one','skip','all') NOT NULL DEFAULT 'one',
  catch_up_max SMALLINT UNSIGNED NOT NULL DEFAULT 10,
  max_run_lateness_s INT UNSIGNED NOT NULL DEFAULT 3600,
  run_overlap ENUM('queue','skip') NOT NULL DEFAULT 'queue',
  max_executions INT UNSIGNED NOT NULL DEFAULT 0,
  executions INT UNSIGNED NOT NULL DEFAULT 0,
  delay ENUM('manual','auto','adaptive') NOT NULL DEFAULT 'auto',
  randomise TINYINT NOT NULL DEFAULT 1,
  gap_percent SMALLINT UNSIGNED NOT NULL DEFAULT 100,
  min_gap_ms INT UNSIGNED NULL,
  max_gap_ms INT UNSIGNED NULL,
  batch_size INT UNSIGNED NULL,
  batch_pause_ms INT UNSIGNED NULL,
  max_lateness_s INT UNSIGNED NOT NULL DEFAULT 0,
  max_attempts SMALLINT UNSIGNED NOT NULL DEFAULT 5,
  on_unknown ENUM('hold','resend','assume_sent') NOT NULL DEFAULT 'hold',
  next_run_at DATETIME(3) NULL,
  planned_after DATETIME(3) NOT NULL,
  finished_at DATETIME(3) NULL,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY recurring_user_name (user_id, name),
  KEY recurring_due (status, next_run_at),
  KEY recurring_steer (status, steered),
  KEY recurring_ended (status, finished_at),
  KEY recurring_changed (updated_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE recurring_devices (
  recurring_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (recurring_id, device_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- The explicit audience of a rule; a phone may be a group's chat id.
CREATE TABLE recurring_contacts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  recurring_id BIGINT UNSIGNED NOT NULL,
  device_id BIGINT UNSIGNED NOT NULL,
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  name VARCHAR(190) NOT NULL DEFAULT '',
  UNIQUE KEY recurring_contacts_phone (recurring_id, phone),
  KEY recurring_contacts_device (recurring_id, device_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One line an occurrence, written in the transaction that claims it; then its audience becomes rows behind a
-- cursor, as a campaign's does.  missed and skipped ones made no rows.
CREATE TABLE recurring_message_logs (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  recurring_id BIGINT UNSIGNED NOT NULL,
  user_id BIGINT UNSIGNED NOT NULL,
  occurrence_at DATETIME(3) NOT NULL,
  status ENUM('expanding','running','finished','missed','skipped') NOT NULL,
  reason VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  late_ms BIGINT NOT NULL DEFAULT 0,
  audience_max BIGINT UNSIGNED NULL,
  cursor_device BIGINT UNSIGNED NOT NULL DEFAULT 0,
  cursor_lead BIGINT UNSIGNED NOT NULL DEFAULT 0,
  total INT UNSIGNED NOT NULL DEFAULT 0,
  n_pending INT UNSIGNED NOT NULL DEFAULT 0,
  n_sent INT UNSIGNED NOT NULL DEFAULT 0,
  n_failed INT UNSIGNED NOT NULL DEFAULT 0,
  n_skipped INT UNSIGNED NOT NULL DEFAULT 0,
  n_unknown INT UNSIGNED NOT NULL DEFAULT 0,
  started_at DATETIME(3) NOT NULL,
  expanded_at DATETIME(3) NULL,
  finished_at DATETIME(3) NULL,
  counted_at DATETIME(3) NULL,
  UNIQUE KEY recurring_logs_once (recurring_id, occurrence_at),
  KEY recurring_logs_open (status, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
