-- The tables between an agency's own software and the adapter of the bus. Version 1.
--
-- `lgsp adapter tables schema` prints this for the schema and the role that it is given; somebody who may create a schema runs it
-- (psql -f), or `lgsp adapter tables install` does. Run again it changes nothing. The adapter itself never creates or alters anything.
--
-- What the software does:   INSERT INTO {schema}.outbox …, in the same transaction as its own rows, and reads `state` and `result`;
--                           SELECT … FROM {schema}.inbox WHERE handled_at IS NULL ORDER BY number, and sets `handled_at`.
-- What the adapter does:    takes in what is queued, writes what became of it, and puts into the inbox what is delivered.

BEGIN;

-- Not about what is there already.
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS {schema}.version (
    version      integer     NOT NULL,
    only_one     boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    installed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {schema}.version (version) VALUES (1) ON CONFLICT DO NOTHING;

-- One row is one request: a dossier handed in, or something said about one.
CREATE TABLE IF NOT EXISTS {schema}.outbox (
    party              text        NOT NULL,   -- in whose name
    request_key        text        NOT NULL,   -- names the request; the same key is the same request, for ever
    actor              text        NOT NULL,   -- the clerk's account
    kind               text        NOT NULL CHECK (kind IN ('submission', 'event')),
    dossier_code       text,                   -- of an event: its dossier. Of a submission null; the adapter writes the code there
    body               jsonb       NOT NULL,   -- as the body of POST /v1/dossiers, or of POST /v1/dossiers/{code}/events
    offline            text,                   -- of a submission: 'never', if it must not be decided while the line is down
    traceparent        text,                   -- the W3C trace it belongs to, if any
    -- From here on the adapter writes.
    state              text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'taken_in', 'admitted', 'refused')),
    provisional_number text,                   -- given out instead of a code, without a line and without numbers
    slip               jsonb,                  -- what the citizen is told without a line
    instance           text,                   -- the adapter that took it in, as exchange.instance names it
    result             jsonb,                  -- as GET /v1/requests/{key}: the receipt, or the problem
    number             bigint      GENERATED ALWAYS AS IDENTITY,
    queued_at          timestamptz NOT NULL DEFAULT now(),
    taken_in_at        timestamptz,            -- durable at the adapter
    answered_at        timestamptz,            -- admitted or refused
    PRIMARY KEY (party, request_key),
    CONSTRAINT codes_and_names_are_short
        CHECK (octet_length(concat(party, request_key, actor, dossier_code, offline, traceparent)) <= 2000)
);
CREATE INDEX IF NOT EXISTS outbox_queued ON {schema}.outbox (number) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS outbox_taken_in ON {schema}.outbox (number) WHERE state = 'taken_in';

-- The documents of a request, inserted in the same transaction; its body names one by {"document": {"file": name}}.
CREATE TABLE IF NOT EXISTS {schema}.outbox_document (
    party       text  NOT NULL,
    request_key text  NOT NULL,
    name        text  NOT NULL,
    media_type  text,                          -- left out, the name's ending says it
    content     bytea NOT NULL,
    PRIMARY KEY (party, request_key, name),
    FOREIGN KEY (party, request_key) REFERENCES {schema}.outbox ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
-- Read in pieces, so not compressed: documents are already.
ALTER TABLE {schema}.outbox_document ALTER COLUMN content SET STORAGE EXTERNAL;

-- One row is one delivery, or what became of one request.
CREATE TABLE IF NOT EXISTS {schema}.inbox (
    delivery_id    text        PRIMARY KEY,    -- names it for ever: seen once is seen
    type           text        NOT NULL,       -- as the type of a webhook: vn.lgsp.dossier.submitted.v1, vn.lgsp.request.admitted.v1 …
    party          text        NOT NULL,
    dossier_code   text,
    sequence       integer,                    -- of a delivery: the number of the event in its dossier
    request_key    text,                       -- of an outcome: the request
    body           jsonb       NOT NULL,       -- as GET /v1/inbox shows it
    number         bigint      GENERATED ALWAYS AS IDENTITY,   -- in order for each dossier
    received_at    timestamptz NOT NULL DEFAULT now(),
    -- The agency's own software writes these two, the one or the other.
    handled_at     timestamptz,                -- it has it
    refused_reason text,                       -- it will never take it as it is: a word of 1 to 64 of A-Z a-z 0-9 _ - .
    -- The adapter writes these.
    settled_at     timestamptz,                -- the bus owes it no longer; too late to refuse
    instance       text        NOT NULL,       -- the adapter that put it here
    problem        jsonb                       -- why it could not be refused
);
CREATE INDEX IF NOT EXISTS inbox_not_handled ON {schema}.inbox (number) WHERE handled_at IS NULL;
CREATE INDEX IF NOT EXISTS inbox_to_settle ON {schema}.inbox (number)
    WHERE settled_at IS NULL AND (handled_at IS NOT NULL OR refused_reason IS NOT NULL);

-- The documents of a delivery, where the adapter is set up to fetch them: there before the delivery is.
CREATE TABLE IF NOT EXISTS {schema}.inbox_document (
    delivery_id text   NOT NULL,
    sha256      text   NOT NULL,               -- 64 hexadecimal digits, as the body names it
    media_type  text   NOT NULL,
    content     bytea,
    problem     jsonb,                         -- instead of the content: why the gateway does not give it
    PRIMARY KEY (delivery_id, sha256),
    CHECK ((content IS NULL) <> (problem IS NULL))
);
ALTER TABLE {schema}.inbox_document ALTER COLUMN content SET STORAGE EXTERNAL;

-- Wakes the adapter; without it, it looks every few seconds.
CREATE OR REPLACE FUNCTION {schema}.wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{schema}', '');
    RETURN NULL;
END $$;

-- Too late is told at once, to whoever says it; and what is said anew is looked at anew.
CREATE OR REPLACE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.settled_at IS NOT NULL THEN
        RAISE EXCEPTION 'delivery % is settled and cannot be refused any more', OLD.delivery_id
            USING HINT = 'Set tables.acknowledge = "handled" in the adapter''s configuration, and refuse instead of setting handled_at.';
    END IF;
    NEW.problem := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER outbox_wakes AFTER INSERT OR UPDATE OF state ON {schema}.outbox
    FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION {schema}.wake();
CREATE OR REPLACE TRIGGER inbox_wakes AFTER UPDATE OF handled_at, refused_reason ON {schema}.inbox
    FOR EACH ROW WHEN (NEW.settled_at IS NULL) EXECUTE FUNCTION {schema}.wake();
CREATE OR REPLACE TRIGGER inbox_refuses BEFORE UPDATE OF refused_reason ON {schema}.inbox
    FOR EACH ROW WHEN (NEW.refused_reason IS NOT NULL AND NEW.refused_reason IS DISTINCT FROM OLD.refused_reason)
    EXECUTE FUNCTION {schema}.refuse();

-- What the adapter's role needs, and no more. It owns nothing, and cannot change what was asked for.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON {schema}.version, {schema}.outbox, {schema}.outbox_document, {schema}.inbox, {schema}.inbox_document TO {role};
GRANT UPDATE (dossier_code, state, provisional_number, slip, instance, result, taken_in_at, answered_at) ON {schema}.outbox TO {role};
GRANT INSERT (delivery_id, type, party, dossier_code, sequence, request_key, body, settled_at, instance) ON {schema}.inbox TO {role};
GRANT UPDATE (type, body, received_at, handled_at, refused_reason, settled_at, instance, problem) ON {schema}.inbox TO {role};
GRANT INSERT ON {schema}.inbox_document TO {role};

-- What the agency's own software needs, if it is not the owner of the schema (ung_dung is its role):
--   GRANT USAGE ON SCHEMA {schema} TO ung_dung;
--   GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO ung_dung;
--   GRANT INSERT (party, request_key, actor, kind, dossier_code, body, offline, traceparent) ON {schema}.outbox TO ung_dung;
--   GRANT UPDATE (dossier_code, body, state) ON {schema}.outbox TO ung_dung;           -- to mend what was refused and queue it again
--   GRANT INSERT, DELETE ON {schema}.outbox_document TO ung_dung;
--   GRANT UPDATE (handled_at, refused_reason) ON {schema}.inbox TO ung_dung;
--   GRANT DELETE ON {schema}.outbox, {schema}.inbox, {schema}.inbox_document TO ung_dung;      -- to clear away what is old

COMMIT;
