-- What a back-off is about.  account: the devices that a provider limits together (a business portfolio, a WhatsApp
-- business account, a token); '' = the device alone.  status_reason: why a source was paused, where nobody asked for it.
ALTER TABLE devices
  ADD COLUMN account VARCHAR(64) NOT NULL DEFAULT '' AFTER sender_ref,
  ADD COLUMN checked_at DATETIME(3) NULL AFTER status_reason,
  ADD KEY devices_account (user_id, account);
ALTER TABLE campaigns ADD COLUMN status_reason VARCHAR(190) NOT NULL DEFAULT '' AFTER status;
ALTER TABLE sequences ADD COLUMN status_reason VARCHAR(190) NOT NULL DEFAULT '' AFTER status;
