-- Consent and caps: what is on its way to a phone, and what went there lately, by index.
-- messages_recipient: opt-outs and frequency caps ask for a user's phone and a status.  The phone comes first, so that
-- nothing that only names a user is drawn to it.
ALTER TABLE broadcast_messages ADD KEY messages_recipient (recipient_phone, user_id, status, sent_at);

-- opt_outs_user: a user's list, the latest first.
ALTER TABLE opt_outs ADD KEY opt_outs_user (user_id, id);

-- How much one recipient gets from all campaigns and recurring messages of a user within 24 hours and within 7 days
-- (0: any number), and how long a message waits for room before it is skipped.
ALTER TABLE users
  ADD COLUMN recipient_daily SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN recipient_weekly SMALLINT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN recipient_wait_s INT UNSIGNED NOT NULL DEFAULT 259200;

-- An account group: the devices whose `account` has this name, which a provider limits together.
-- daily_recipients: different people within 24 hours, 0 for any number.
CREATE TABLE accounts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  name VARCHAR(64) NOT NULL,
  daily_recipients INT UNSIGNED NOT NULL DEFAULT 0,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  UNIQUE KEY accounts_user_name (user_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Who was written to, or is about to be, by an account, and when last: reserved when a message is dispatched, moved
-- to when it was sent before the entry falls out of the 24 hours.
CREATE TABLE account_recipients (
  account_id BIGINT UNSIGNED NOT NULL,
  phone VARCHAR(32) CHARACTER SET ascii NOT NULL,
  last_at DATETIME(3) NOT NULL,
  PRIMARY KEY (account_id, phone),
  KEY account_recipients_last (account_id, last_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
