-- To version 2: each value may carry attributes (JSON): units, bold, background; or the error in its place.
ALTER TABLE run_variables ADD COLUMN attributes;
