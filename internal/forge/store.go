package forge

import (
	"context"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

func scan(s db.Scanner) (Repository, error) {
	var r Repository
	var at int64
	err := s.Scan(&r.Name, &r.URL, &at)
	r.CreatedAt = db.Time(at)
	return r, err
}

func insert(ctx context.Context, tx *db.Tx, r Repository) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO repositories (name, url, created_at) VALUES ($1, $2, $3)`, r.Name, r.URL, r.CreatedAt.UnixMilli())
	return err
}

func remove(ctx context.Context, tx *db.Tx, name string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM repositories WHERE name = $1`, name)
}

func list(ctx context.Context, q db.Querier, r page.Request) ([]Repository, error) {
	var w db.Where
	if r.After != nil {
		w.Add("name > ?", r.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", r.Limit())
	return db.All(ctx, q, scan, `SELECT name, url, created_at FROM repositories`+where+` ORDER BY name `+limit, w.Args()...)
}

// findAll gives those of the names that are listed.
func findAll(ctx context.Context, q db.Querier, names []string) (map[string]Repository, error) {
	out := make(map[string]Repository, len(names))
	if len(names) == 0 {
		return out, nil
	}
	var w db.Where
	w.In("name", names)
	rows, err := db.All(ctx, q, scan, `SELECT name, url, created_at FROM repositories`+w.SQL(), w.Args()...)
	for _, r := range rows {
		out[r.Name] = r
	}
	return out, err
}
