package server_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/blob"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/server"
)

func TestServersOnOneDatabaseNoticeThatTheirBlobsDiffer(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		open := func(dir string) *blob.Store {
			b, err := blob.Open(t.Context(), "file://"+dir, "")
			require.NoError(t, err)
			return b
		}
		shared, elsewhere := t.TempDir(), t.TempDir()
		for _, c := range []struct {
			name string
			dir  string
			keep bool
			want server.BlobsOf
		}{
			{"doctor before the first start", shared, false, server.BlobsLocal},
			{"the first server", shared, true, server.BlobsLocal},
			{"again", shared, true, server.BlobsLocal},
			{"doctor elsewhere", elsewhere, false, server.BlobsOther},
			{"a server elsewhere", elsewhere, true, server.BlobsOther},
			{"doctor there", shared, false, server.BlobsLocal},
		} {
			if d.Engine() == db.SQLite {
				c.want = server.BlobsAny
			}
			got, err := server.CheckBlobs(t.Context(), d, open(c.dir), c.keep)
			require.NoError(t, err)
			require.Equal(t, c.want, got, c.name)
		}
	})
}
