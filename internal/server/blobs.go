package server

import (
	"context"
	"errors"
	"log/slog"

	"gantry/internal/platform/blob"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
)

// BlobsOf says how the blobs of a database that several servers may share fit to it.
type BlobsOf int

// BlobsAny fit: the database is this machine's alone, or the blobs are a bucket. BlobsLocal are a directory, which is good for servers that
// see the same one. BlobsOther are a directory, but not the one that the database's first server had.
const (
	BlobsAny BlobsOf = iota
	BlobsLocal
	BlobsOther
)

// blobsRow is the row of settings that holds the mark of the first server's directory.
const blobsRow = "blobs_mark"

// CheckBlobs compares the mark of a directory of blobs with the one that the database knows. Only with keep it makes either.
func CheckBlobs(ctx context.Context, d *db.DB, b *blob.Store, keep bool) (BlobsOf, error) {
	if d.Engine() != db.Postgres {
		return BlobsAny, nil
	}
	mark, local, err := b.Mark(keep)
	if err != nil || !local {
		return BlobsAny, err
	}
	if keep {
		err = d.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, blobsRow, mark)
			return err
		})
		if err != nil {
			return BlobsAny, err
		}
	}
	known, err := db.One(ctx, d.Reader(), db.Text, `SELECT value FROM settings WHERE name = $1`, blobsRow)
	switch {
	case errors.Is(err, db.ErrNone):
		return BlobsLocal, nil
	case err != nil:
		return BlobsAny, err
	case known != mark:
		return BlobsOther, nil
	}
	return BlobsLocal, nil
}

// tellBlobs warns of files that other servers on the same database won't find. None of it keeps a server from its start.
func (s *Server) tellBlobs(ctx context.Context) {
	is, err := CheckBlobs(ctx, s.DB, s.Blobs, true)
	say, at := s.log.WarnContext, slog.String("blobs", config.Redact(s.cfg.Blobs))
	switch {
	case err != nil:
		say(ctx, "the blobs can't be compared with those of other servers on this database", at, slog.Any("error", err))
	case is == BlobsOther:
		say(ctx, "the blobs are in another directory than those of this database's first server, so neither finds the other's files; "+
			"give all servers the same directory, or a bucket with --blobs s3://BUCKET", at)
	case is == BlobsLocal:
		say(ctx, "the blobs are in a directory and the database may be shared: every server on it needs the same directory, "+
			"or a bucket with --blobs s3://BUCKET", at)
	}
}
