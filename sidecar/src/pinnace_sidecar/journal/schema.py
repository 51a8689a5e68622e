"""The journal's tables, by version. `PRAGMA user_version` says which version a file has; steps only ever add one.

Each step changes some table, so that a version and its tables can be held against each other.
"""

from typing import Final

#: `STEPS[n]` brings version n to n + 1.
STEPS: Final = (
    """
    CREATE TABLE files (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        folder BLOB NOT NULL,
        path BLOB NOT NULL,
        current INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        suspect INTEGER NOT NULL DEFAULT 0,
        settled_at REAL NOT NULL,
        size INTEGER NOT NULL,
        artifact_id TEXT UNIQUE,
        digest BLOB,
        upload_id TEXT NOT NULL DEFAULT '',
        etag TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE UNIQUE INDEX files_path ON files (path) WHERE current;
    CREATE INDEX files_folder ON files (folder) WHERE current;
    CREATE INDEX files_state ON files (state);
    CREATE TABLE parts (
        file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        crc32c TEXT,
        PRIMARY KEY (file, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tails (
        path BLOB PRIMARY KEY,
        inode TEXT NOT NULL,
        generation INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        lines INTEGER NOT NULL,
        skipping INTEGER NOT NULL,
        points INTEGER NOT NULL,
        bad INTEGER NOT NULL,
        first_bad TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        points BLOB NOT NULL,
        count INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE files ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX files_held ON files (held) WHERE held;
    CREATE TABLE members (
        manifest INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        folder BLOB NOT NULL,
        path BLOB NOT NULL,
        size INTEGER,
        artifact_id TEXT,
        mtime_ns INTEGER,
        PRIMARY KEY (manifest, path)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX members_path ON members (path);
    CREATE INDEX members_folder ON members (folder);
    ALTER TABLE tails ADD COLUMN mark BLOB NOT NULL DEFAULT x'';
    """,
    """
    ALTER TABLE files ADD COLUMN seal INTEGER;
    ALTER TABLE parts ADD COLUMN seal INTEGER;
    ALTER TABLE tails ADD COLUMN seal INTEGER;
    ALTER TABLE outbox ADD COLUMN seal INTEGER;
    ALTER TABLE counters ADD COLUMN seal INTEGER;
    ALTER TABLE members ADD COLUMN seal INTEGER;
    """,
    """
    ALTER TABLE files ADD COLUMN shared BLOB;
    """,
    """
    ALTER TABLE files ADD COLUMN stored BLOB;
    """,
    # A sidecar that does not know this version would not find the copies that lie in packs. (Nothing is asked by
    # folder any more.)
    """
    DROP INDEX files_folder;
    """,
    # By artifact and not by row: a manifest changes its row when it is handed out.
    """
    CREATE TABLE named (
        manifest TEXT NOT NULL REFERENCES files (artifact_id) ON DELETE CASCADE,
        member TEXT NOT NULL,
        seal INTEGER,
        PRIMARY KEY (manifest, member)
    ) STRICT, WITHOUT ROWID;
    """,
)
