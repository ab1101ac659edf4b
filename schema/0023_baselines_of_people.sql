-- Of how many people a baseline was learnt: one of fewer than speak with the character holds no longer.
-- NULL for those from before this was asked, and for probes, which are nobody's words.
ALTER TABLE character_baselines ADD owners integer CHECK (owners > 0);
