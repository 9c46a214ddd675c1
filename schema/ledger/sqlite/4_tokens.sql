-- Bearer tokens of a service. Only the SHA-256 of a token's secret is stored: a secret of 256 random bits cannot be guessed.
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    allows TEXT NOT NULL CHECK (allows IN ('read', 'process', 'admin')),
    proposals TEXT NOT NULL,
    hash TEXT NOT NULL,
    created REAL NOT NULL,
    by_user TEXT NOT NULL,
    expires REAL,
    revoked REAL
) STRICT;
CREATE INDEX token_of_service ON token (service, created);

-- What a token allows never changes, and one that is revoked stays so.
CREATE TRIGGER token_moves BEFORE UPDATE ON token
WHEN OLD.revoked IS NOT NULL OR NEW.revoked IS NULL OR NEW.id <> OLD.id OR NEW.service <> OLD.service
    OR NEW.allows <> OLD.allows OR NEW.proposals <> OLD.proposals OR NEW.hash <> OLD.hash
    OR NEW.expires IS NOT OLD.expires
BEGIN
    SELECT RAISE(ABORT, 'amore: a token can only be revoked, once');
END;
