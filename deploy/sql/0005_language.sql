-- The language of greetings and of a missing name's stand-in, where a recipient has none; '' is the workers' setting.
ALTER TABLE devices ADD COLUMN language VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '' AFTER time_zone;
