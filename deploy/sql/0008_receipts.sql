-- What providers tell of messages that they have taken (docs/receipts.md).  All times are UTC.

-- receipt only rises, in the order of its words: a failure is known until somebody reports a delivery.
ALTER TABLE broadcast_messages
  ADD COLUMN receipt ENUM('none','sent','failed','delivered','read') NOT NULL DEFAULT 'none' AFTER sent_at,
  ADD COLUMN receipt_at DATETIME(3) NULL AFTER receipt,
  ADD COLUMN receipt_code VARCHAR(32) NOT NULL DEFAULT '' AFTER receipt_at,
  ADD KEY messages_provider (provider_message_id, user_id);
ALTER TABLE broadcast_messages_archive
  ADD COLUMN receipt ENUM('none','sent','failed','delivered','read') NOT NULL DEFAULT 'none' AFTER sent_at,
  ADD COLUMN receipt_at DATETIME(3) NULL AFTER receipt,
  ADD COLUMN receipt_code VARCHAR(32) NOT NULL DEFAULT '' AFTER receipt_at;

-- The inbox: one line an event, whatever how often it is posted.  section: of [receipts NAME].  job_id, attempt: what
-- the provider gave back.  weak: it gives nothing back, so an unknown message may be found by device, phone and time.
-- due_at: when it is looked at next; of what is done, since when it is.  consent_phone: of stop and resume alone;
-- their code says where they come from.
CREATE TABLE receipts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  section VARCHAR(64) CHARACTER SET ascii NOT NULL,
  kind ENUM('sent','failed','delivered','read','stop','resume') NOT NULL,
  provider_message_id VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  job_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  attempt SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  weak TINYINT NOT NULL DEFAULT 0,
  device_ref VARCHAR(190) NOT NULL DEFAULT '',
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  consent_phone VARCHAR(32) CHARACTER SET ascii NULL,
  code VARCHAR(32) NOT NULL DEFAULT '',
  detail VARCHAR(255) NOT NULL DEFAULT '',
  happened_at DATETIME(3) NOT NULL,
  received_at DATETIME(3) NOT NULL,
  state ENUM('new','applied','orphan') NOT NULL DEFAULT 'new',
  due_at DATETIME(3) NOT NULL,
  message_id BIGINT UNSIGNED NULL,
  UNIQUE KEY receipts_once (user_id, provider_message_id, kind, section),
  KEY receipts_state (state, due_at, id),
  KEY receipts_consent (consent_phone, user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
