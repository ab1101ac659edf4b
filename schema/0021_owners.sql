-- Whose an instance is decides what it weighs: in the median of a round, and in what is usual for a character.

-- One number of 8 bytes for each row of 88, in the same order. Rosters of rounds by the first rules have none.
ALTER TABLE block_rosters ADD owners bytea CHECK (length(owners) * 11 = length(packed));
ALTER TABLE block_rosters ALTER owners SET STORAGE EXTERNAL;

-- What was agreed last of a character is read whenever a conversation begins, also if nobody has spoken for it in
-- the last thousand blocks.
CREATE INDEX block_results_of_character ON block_results (character_id, height DESC);
