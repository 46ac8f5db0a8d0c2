-- Pictures, films, sounds and documents, and templates that a provider has approved.  media and template are JSON
-- (shared/media.h, shared/approved.h) and NULL where there is none; a message without its own has its source's, as with
-- content.

-- A content, once a user.  It is cut into pieces, because the server takes no statement beyond max_allowed_packet.
CREATE TABLE media (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  sha256 CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  mime VARCHAR(80) CHARACTER SET ascii NOT NULL,
  size INT UNSIGNED NOT NULL,
  filename VARCHAR(240) NOT NULL DEFAULT '',
  created_at DATETIME(3) NOT NULL,
  UNIQUE KEY media_user_sha256 (user_id, sha256)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE media_pieces (
  media_id BIGINT UNSIGNED NOT NULL,
  position SMALLINT UNSIGNED NOT NULL,
  content MEDIUMBLOB NOT NULL,
  PRIMARY KEY (media_id, position)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

ALTER TABLE campaigns
  ADD COLUMN media TEXT NULL AFTER content,
  ADD COLUMN template TEXT NULL AFTER media;
ALTER TABLE sequence_steps
  ADD COLUMN media TEXT NULL AFTER content,
  ADD COLUMN template TEXT NULL AFTER media;
ALTER TABLE recurring_messages
  ADD COLUMN media TEXT NULL AFTER content,
  ADD COLUMN template TEXT NULL AFTER media;
ALTER TABLE broadcast_messages
  ADD COLUMN media TEXT NULL AFTER content,
  ADD COLUMN template TEXT NULL AFTER media;
ALTER TABLE broadcast_messages_archive
  ADD COLUMN media TEXT NULL AFTER content,
  ADD COLUMN template TEXT NULL AFTER media;
