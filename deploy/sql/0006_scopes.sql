-- What a back-off is about.  account: the devices that a provider limits together (a business portfolio, a WhatsApp
-- business account, a token); '' = the device alone.  new_contacts_until: it may begin no conversations before.
-- checked_at: when its provider was last asked how it is.  status_reason: why a source was paused, where nobody asked.
ALTER TABLE devices
  ADD COLUMN account VARCHAR(64) NOT NULL DEFAULT '' AFTER sender_ref,
  ADD COLUMN checked_at DATETIME(3) NULL AFTER status_reason,
  ADD COLUMN new_contacts_until DATETIME(3) NULL AFTER checked_at,
  ADD KEY devices_account (user_id, account),
  ADD KEY devices_check (status, checked_at);
-- Redis learns of each device's sender and account, by which it is held.
UPDATE devices SET config_version = config_version + 1;
ALTER TABLE campaigns ADD COLUMN status_reason VARCHAR(190) NOT NULL DEFAULT '' AFTER status;
ALTER TABLE sequences ADD COLUMN status_reason VARCHAR(190) NOT NULL DEFAULT '' AFTER status;

-- Recipients to whom nothing is to go before a time, whichever device has them: what a provider said of them.
CREATE TABLE recipient_rests (
  user_id BIGINT UNSIGNED NOT NULL,
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  until_at DATETIME(3) NOT NULL,
  code VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '',
  PRIMARY KEY (user_id, phone),
  KEY recipient_rests_until (until_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
