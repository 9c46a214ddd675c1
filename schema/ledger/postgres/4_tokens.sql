-- Bearer tokens of a service. Only the SHA-256 of a token's secret is stored: a secret of 256 random bits cannot be guessed.
CREATE TABLE token (
    id text PRIMARY KEY,
    service text NOT NULL,
    name text NOT NULL,
    allows text NOT NULL CHECK (allows IN ('read', 'process', 'admin')),
    proposals json NOT NULL,
    hash text NOT NULL,
    created double precision NOT NULL,
    by_user text NOT NULL,
    expires double precision,
    revoked double precision
);
CREATE INDEX token_of_service ON token (service, created);

-- What a token allows never changes, and one that is revoked stays so.
CREATE FUNCTION token_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked IS NOT NULL OR NEW.revoked IS NULL OR NEW.id <> OLD.id OR NEW.service <> OLD.service
        OR NEW.allows <> OLD.allows OR NEW.proposals::text <> OLD.proposals::text OR NEW.hash <> OLD.hash
        OR NEW.expires IS DISTINCT FROM OLD.expires THEN
        RAISE EXCEPTION 'amore: a token can only be revoked, once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER token_moves BEFORE UPDATE ON token FOR EACH ROW EXECUTE FUNCTION token_moves();
