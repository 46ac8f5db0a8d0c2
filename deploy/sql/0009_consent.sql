-- Consent and caps: what is on its way to a phone, and what went there lately, by index.
-- messages_recipient: opt-outs and frequency caps ask for a user's phone and a status.
ALTER TABLE broadcast_messages ADD KEY messages_recipient (user_id, recipient_phone, status, sent_at);
-- opt_outs_user: a user's list, the latest first.
ALTER TABLE opt_outs ADD KEY opt_outs_user (user_id, id);
