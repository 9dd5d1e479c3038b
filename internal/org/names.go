package org

import (
	"context"

	"gantry/internal/platform/db"
)

// Names gives the names of living organizations; ids that are none's are left out. It authorises nobody: who may act in an
// organization may read what it is called.
func (s *Service) Names(ctx context.Context, orgIDs []string) (map[string]string, error) {
	out := make(map[string]string, len(orgIDs))
	if len(orgIDs) == 0 {
		return out, nil
	}
	var w db.Where
	w.In("org_id", orgIDs)
	w.Add("deleted_at IS NULL")
	_, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (struct{}, error) {
		var id, name string
		err := r.Scan(&id, &name)
		out[id] = name
		return struct{}{}, err
	}, `SELECT org_id, name FROM organizations`+w.SQL(), w.Args()...)
	return out, err
}
